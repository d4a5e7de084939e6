"""`mdflow curate`: from videos to a folder that training reads, and what it says about input that cannot be used."""

import json
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from mdflow.commands import main
from mdflow.data import open_dataset
from mdflow.data.io import read_image, write_image

HEIGHT, WIDTH, BORDER = 96, 128, 16


def texture():
    """A picture twice as wide as a frame."""
    noise = np.random.default_rng(0).normal(0, 1, (HEIGHT, 2 * WIDTH, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.clip(128 + 50 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def write_moving_video(path, count=12, speed=2):
    """A texture that moves `speed` px a frame, below a black border."""
    wide = texture()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt, stream.options = HEIGHT, WIDTH, "yuv420p", {"qp": "4"}
        stream.codec_context.thread_count = 1
        for number in range(count):
            image = wide[:, speed * number : speed * number + WIDTH].copy()
            image[:BORDER] = 0
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_the_verb_writes_what_training_reads(tmp_path, capsys):
    write_moving_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").write_text("no video")
    out = tmp_path / "out"
    assert main(["curate", str(tmp_path), "-o", str(out), "--motion", "3", "20"]) == 0
    printed = capsys.readouterr().out
    assert "10 pairs in 1 shot(s); of 12 frames left out: none" in printed
    assert "left out: " in printed and "b.mp4 cannot be opened as a video" in printed
    dataset = open_dataset(out)
    assert (dataset.name, len(dataset), dataset[0].image1.shape) == ("curated", 10, (HEIGHT - BORDER, WIDTH, 3))
    assert dataset[3].name == "a/000003-000005"
    report = json.loads((out / "a.json").read_text())
    assert report["pair_count"] == 10 and report["crop"] == [BORDER, HEIGHT, 0, WIDTH]
    assert read_image(out / "a.png").shape[1] > 1000


def test_a_folder_that_holds_pairs_is_left_as_it_is(tmp_path, capsys):
    write_moving_video(tmp_path / "a.mp4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "pairs.json").write_text("[]")
    assert main(["curate", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "out")]) == 2
    assert "already holds curated pairs" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["pairs.json"]


def test_folders_of_frames_in_a_folder_are_clips(tmp_path, capsys):
    for clip in ("one", "two"):
        (tmp_path / clip).mkdir()
        for number in range(12):
            write_image(tmp_path / clip / f"{number}.png", texture()[:, 4 * number : 4 * number + WIDTH])
    assert main(["curate", str(tmp_path), "-o", str(tmp_path / "out")]) == 0
    assert "22 pairs of 2 clip(s)" in capsys.readouterr().out


@pytest.mark.parametrize(("source", "out"), [("clips/one", "clips"), ("clips/one", "clips/one/curated")])
def test_the_frames_given_are_never_written_over(tmp_path, capsys, monkeypatch, source, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / source).mkdir(parents=True)
    for number in range(12):
        write_image(tmp_path / source / f"{number:06d}.png", texture()[:, 2 * number : 2 * number + WIDTH])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert main(["curate", source, "-o", out]) == 2
    assert f"would be written into {source}" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


BAD_COMMANDS = [
    (["nowhere"], "nowhere does not exist"),
    (["."], "holds no video and no image"),
    (["a.mp4"], "cannot be opened as a video"),
    (["a.mp4", "--motion", "5", "2"], "expected 0 <= LOW < HIGH"),
    (["a.mp4", "--motion", "5", "inf"], "expected 0 <= LOW < HIGH"),
    (["a.mp4", "--largest-step", "0"], "largest step is wrong"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD_COMMANDS)
def test_input_that_cannot_be_used_is_said(tmp_path, capsys, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    if "a.mp4" in arguments:
        (tmp_path / "a.mp4").write_text("no video")
    assert main(["curate", *arguments, "-o", "out"]) == 2
    assert sentence in capsys.readouterr().err and not (tmp_path / "out").exists()
