"""Shards: what is packed comes back, wherever it lies; nothing twice, nothing lost; nothing outside the archive."""

import http.client
import io
import itertools
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from mdflow.commands import main
from mdflow.data import open_dataset
from mdflow.data.batches import Positions
from mdflow.data.io import write_image
from mdflow.data.packing.ranges import Ranges, whole
from mdflow.data.packing.shards import Shards, index_of, make_index, save_index, split_name, write_shards
from mdflow.data.sample import Sample
from mdflow.errors import InputError
from mdflow.system import ranks


class Numbered:
    """Pairs of gray frames that tell their number."""

    name = "numbered"

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        image = np.full((8, 8, 3), index, np.uint8)
        return Sample(f"{index}", image, 255 - image)


def number_of(sample: Sample) -> int:
    assert (sample.image2 == 255 - sample.image1).all()
    return int(sample.image1[0, 0, 0])


@pytest.fixture
def folder(tmp_path):
    """Eleven pairs in shards of four."""
    write_shards(Numbered(11), tmp_path / "packed", pairs=4, suffix=".png")
    return tmp_path / "packed"


def test_what_is_packed_comes_back(folder):
    assert {path.name for path in folder.iterdir()} == {
        f"{number:06d}.tar{suffix}" for number in range(3) for suffix in ("", ".npy")
    }
    dataset = open_dataset(folder)
    assert isinstance(dataset, Shards)
    assert [number_of(dataset[index]) for index in range(len(dataset))] == list(range(11))
    assert [len(run) for run in dataset.runs()] == [4, 4, 3]
    assert len({dataset[index].name for index in range(11)}) == 11
    assert len(open_dataset(folder / "000000.tar")) == 4


def test_a_shard_of_another_tool_gets_its_index(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, value in (("x/1.json", None), ("x/1.image2.png", 254), ("x/1.image1.png", 1), ("x/2.image1.png", 9)):
            content = b"{}" if value is None else png(value)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    dataset = Shards(tmp_path)
    assert [number_of(sample) for sample in dataset] == [1]
    assert (tmp_path / "a.tar.npy").exists()


def png(value: int) -> bytes:
    import cv2

    return cv2.imencode(".png", np.full((8, 8, 3), value, np.uint8))[1].tobytes()


class Handler(SimpleHTTPRequestHandler):
    """A server of files that answers range requests, or not."""

    def log_message(self, *_):
        pass

    def send_head(self):
        asked = self.headers.get("Range")
        if not asked or "whole" in self.path or "gone" in self.path:
            return super().send_head()
        first, last = (int(part) for part in asked.removeprefix("bytes=").split("-"))
        with Path(self.translate_path(self.path)).open("rb") as file:
            file.seek(first)
            content = file.read(last - first + 1)
        self.send_response(206)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return io.BytesIO(content)


@pytest.fixture
def server(tmp_path):
    """The folder over HTTP."""
    found = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()


def test_shards_are_read_behind_urls(tmp_path, folder, server, monkeypatch):
    listed = tmp_path / "list.txt"
    listed.write_text(f"{server}/packed/000002.tar\n\npacked/000000.tar\n")
    dataset = open_dataset(f"shards={listed}")
    assert [number_of(sample) for sample in dataset] == [8, 9, 10, 0, 1, 2, 3]
    monkeypatch.setattr("mdflow.data.packing.ranges.PAUSE", 0)
    (folder / "whole.tar").write_bytes((folder / "000000.tar").read_bytes())
    with pytest.raises(InputError, match="expected a server that answers range requests"):
        Ranges().read(f"{server}/packed/whole.tar", 0, 10)
    with pytest.raises(InputError, match=r"gone\.tar cannot be read: .*404.*; tried 4 times"):
        Ranges().read(f"{server}/packed/gone.tar", 0, 10)


def test_a_broken_line_is_tried_again(monkeypatch):
    monkeypatch.setattr("mdflow.data.packing.ranges.PAUSE", 0)
    troubles = [http.client.IncompleteRead(b""), http.client.BadStatusLine("?")]

    def answer(*_, **__):
        if troubles:
            raise troubles.pop()
        return io.BytesIO(b"content")

    monkeypatch.setattr("urllib.request.urlopen", answer)
    assert whole("http://example.org/list.txt") == b"content"
    troubles += 4 * [http.client.IncompleteRead(b"")]
    with pytest.raises(InputError, match="tried 4 times"):
        whole("http://example.org/list.txt")


@pytest.mark.parametrize("count", [1, 2, 4])
def test_ranks_share_an_epoch_without_overlap_or_loss_and_go_on_in_its_middle(folder, monkeypatch, count):
    dataset, seen = Shards(folder), []
    monkeypatch.setattr(ranks, "count", lambda: count)
    for number in range(count):
        monkeypatch.setattr(ranks, "number", lambda number=number: number)
        whole = list(itertools.islice(Positions(dataset, 4, seed=3, start=0), 11))
        later = list(itertools.islice(Positions(dataset, 4, seed=3, start=5), 6))
        assert whole[5:] == later
        seen += itertools.chain.from_iterable(whole)
    positions, indices = zip(*sorted(seen), strict=True)
    assert positions == tuple(range(44))
    for epoch in range(4):
        assert sorted(indices[11 * epoch : 11 * epoch + 11]) == list(range(11))


def test_names_never_become_paths(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("../../out.image1.png", "/etc/out.image1.png", "../../out.image2.png"):
            member = tarfile.TarInfo(name)
            member.size = len(png(1))
            archive.addfile(member, io.BytesIO(png(1)))
        link = tarfile.TarInfo("x.image1.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    dataset = Shards(tmp_path)
    assert [sample.name for sample in dataset] == ["a/000000"]
    assert split_name("../../out.image1.png") == ("../../out", "image1")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([[0, 2**40, 0, 5]], "shorter than its index says"),
        ([[-5, 10, 0, 5]], "points nowhere"),
        ([[0, 2**60, 0, 5]], "points nowhere"),
        ([[0, 10, 512, 10]], "cannot be read as an image"),
    ],
)
def test_an_index_that_lies_is_said(folder, rows, sentence):
    save_index(str(folder / "000000.tar"), np.array(rows, np.int64))
    with pytest.raises(InputError, match=sentence):
        Shards(folder)[0]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v\x00{'descr': '|O'", b"PK\x03\x04"])
def test_a_damaged_index_is_said(folder, content):
    (folder / "000001.tar.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"000001\.tar\.npy cannot be read: .*delete it"):
        Shards(folder)


@pytest.mark.parametrize(("content", "sentence"), [(b"no tar", "as a tar file"), (bytes(10240), "holds no pair")])
def test_what_is_no_shard_is_said(tmp_path, content, sentence):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        Shards(tmp_path)


def test_a_cut_shard_gives_what_it_holds(folder):
    path = folder / "000000.tar"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match="shorter than its index says"):
        Shards(folder)[3]
    assert number_of(Shards(folder)[0]) == 0
    with pytest.raises(InputError, match="as a tar file: unexpected end"):
        make_index(str(path))
    assert index_of(str(path)).endswith("000000.tar.npy")


def test_the_verb_packs_what_training_reads(tmp_path, capsys):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(4):
        write_image(frames / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
    command = ["shard", "--data", str(frames), "-o", str(tmp_path / "packed"), "--pairs", "2", "--images", "png"]
    assert main(command) == 0
    assert f"Wrote 3 pairs to 2 shards in {tmp_path / 'packed'}." in capsys.readouterr().out
    assert [int(sample.image2[0, 0, 0]) for sample in open_dataset(tmp_path / "packed")] == [1, 2, 3]
    assert main(command) == 2
    assert "holds shards already; use --overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--pairs", "3"]) == 0
    assert len(open_dataset(tmp_path / "packed")) == 3
    assert main([*command, "--overwrite", "--pairs", "0"]) == 2
    assert "give --pairs 1 or more" in capsys.readouterr().err


def test_the_verb_never_reads_what_it_replaces(folder, capsys):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for source in (folder, folder / "000001.tar", f"{folder}:0.5"):
        command = ["shard", "--data", "synthetic?length=1", str(source), "-o", str(folder), "--overwrite"]
        assert main(command) == 2
        assert "is read and lies in" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_overwriting_leaves_what_is_not_the_verbs_own(folder, tmp_path):
    (folder / "backup.tar").write_bytes(b"precious")
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(3):
        write_image(frames / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
    assert main(["shard", "--data", str(frames), "-o", str(folder), "--overwrite"]) == 0
    assert {path.name for path in folder.iterdir()} == {"000000.tar", "000000.tar.npy", "backup.tar"}
    assert len(Shards(folder / "000000.tar")) == 2


def test_an_unreadable_pair_leaves_the_old_shards_whole(folder, tmp_path):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(4):
        write_image(frames / f"{number}.png", np.full((8, 8, 3), number, np.uint8))
    (frames / "3.png").write_bytes(b"no image")
    assert main(["shard", "--data", str(frames), "-o", str(folder), "--pairs", "1", "--overwrite"]) == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
