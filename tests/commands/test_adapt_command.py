"""`mdflow adapt`: from frames to weights and a report."""

import re
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mdflow.commands import main
from mdflow.commands.adapt import divided, open_labelled
from mdflow.data.io import write_flow, write_image
from mdflow.data.packing.packed import MAGIC
from mdflow.errors import InputError
from teachers import load

SMALL = ["--steps", "4", "--size", "64x64", "--set", "score_pairs=2", "--set", "data.workers=0"]
SMALL += ["--set", "batch_size=1", "--init", "untrained"]
SMALL += ["--rounds", "1", "--student", "fastflownet", "--student-init", "untrained"]


def texture(width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, width // 4, 3), np.uint8).repeat(4, 0).repeat(4, 1)


@pytest.fixture
def frames(tmp_path):
    """A folder of frames of a texture that moves by three pixels."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(5):
        write_image(folder / f"{number}.png", texture(200)[:, 3 * number : 3 * number + 100])
    return folder


@pytest.fixture
def labelled(tmp_path):
    """One labelled pair in FlyingChairs' layout."""
    root = tmp_path / "labelled"
    (root / "data").mkdir(parents=True)
    for number in (1, 2):
        write_image(root / "data" / f"00001_img{number}.ppm", texture(200)[:, 3 * number : 3 * number + 100])
    flow = np.zeros((80, 100, 2), np.float32)
    flow[..., 0] = -3
    write_flow(root / "data" / "00001_flow.flo", flow)
    return root


def test_frames_become_weights_and_a_page_that_holds_everything(tmp_path, frames, labelled, capsys):
    run = tmp_path / "run"
    assert main(["adapt", str(frames), "-o", str(run), "--judge", str(labelled), *SMALL]) == 0
    assert "fastflownet starts from scratch" in capsys.readouterr().out
    assert load("fastflownet", run / "network.safetensors") is not None
    page = (run / "report.html").read_text()
    assert all(words in page for words in ("Judged with the labels", "EPE px", "consistency px"))
    assert page.count("<svg") == 2
    assert page.count("data:image/jpeg") >= 2
    # Nothing is loaded from elsewhere.
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert f"mdflow adapt {frames} -o {run} --init untrained" in page


def test_a_run_goes_on_or_is_refused(tmp_path, frames, capsys):
    run = tmp_path / "run"
    command = ["adapt", str(frames), "-o", str(run), *SMALL]
    assert main(command) == 0
    before = load_file(run / "network.safetensors")
    assert main(command) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    after = load_file(run / "network.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    other = shutil.copytree(frames, tmp_path / "other")
    assert main(["adapt", str(other), *command[2:], "--resume"]) == 2
    assert "curated from other clips" in capsys.readouterr().err
    assert main(["adapt", str(other), *command[2:], "--overwrite"]) == 0


def test_a_labelled_root_is_adapted_to_without_its_labels(tmp_path, labelled):
    run = tmp_path / "run"
    assert main(["adapt", str(labelled), "-o", str(run), *SMALL]) == 0
    assert not (run / "curated").exists()
    assert '"supervised"' not in (run / "pretrain" / "metrics.jsonl").read_text()


def test_without_rounds_all_steps_are_pretraining(tmp_path, frames, capsys):
    run = tmp_path / "run"
    assert main(["adapt", str(frames), "-o", str(run), *SMALL[: SMALL.index("--rounds")]]) == 0
    assert "raft_small" not in capsys.readouterr().out
    assert "\nsteps: 4\n" in (run / "pretrain" / "config.yaml").read_text()
    assert not (run / "distill").exists()


def test_the_start_is_the_shipped_network(tmp_path, frames, capsys):
    assert main(["adapt", str(frames), "-o", str(tmp_path / "run"), *SMALL, "--init", "shipped"]) == 0
    assert "fastflownet starts from the shipped weights" in capsys.readouterr().out


@pytest.mark.parametrize(("size", "sentences"), [("64x64", 0), ("64x128", 1)])
def test_frames_that_are_smaller_than_the_size_are_said_to_be_enlarged(tmp_path, frames, capsys, size, sentences):
    few = [*SMALL[: SMALL.index("--rounds")], "--steps", "2", "--size", size]
    assert main(["adapt", str(frames), "-o", str(tmp_path / "run"), *few]) == 0
    assert capsys.readouterr().out.count("The frames of 80x100 are enlarged to the size 64x128,") == sentences


@pytest.mark.parametrize(
    "flags", [["--student", "raft"], ["--student-init", "untrained"], ["--set", "student_steps=3"], ["--set", "out=x"]]
)
def test_what_would_have_no_effect_is_refused(tmp_path, frames, capsys, flags):
    assert main(["adapt", str(frames), "-o", str(tmp_path / "run"), *flags]) == 2
    assert "leave" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_videos_beside_folders_of_frames_are_footage_too(tmp_path, frames):
    (tmp_path / "clip.mp4").write_bytes(b"")
    (frames / "thumbs").mkdir()
    write_image(frames / "thumbs" / "0.png", texture(200))
    assert divided([str(tmp_path)]) == ([frames, tmp_path / "clip.mp4"], [])
    assert divided([str(frames)]) == ([frames], [])


def test_an_image_beside_videos_is_no_clip(tmp_path, frames):
    folder = tmp_path / "videos"
    (folder / "more").mkdir(parents=True)
    for path in (folder / "clip.mp4", folder / "more" / "clip.mp4"):
        path.write_bytes(b"")
        write_image(path.with_suffix(".png"), texture(200))
    assert divided([str(folder)]) == ([folder / "clip.mp4", folder / "more" / "clip.mp4"], [])


def test_data_sets_are_used_as_they_are_however_they_are_given(tmp_path, frames, labelled, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed, shards = tmp_path / "few.lmdb", tmp_path / "shards"
    packed.write_bytes(bytes(16) + MAGIC)
    shards.mkdir()
    (shards / "000000.tar").write_bytes(b"")
    sets = [str(labelled), str(packed), str(shards), f"frames={frames}", f"{frames}?step=2", "synthetic?length=3"]
    assert divided([*sets, str(frames)]) == ([frames], sets)


def test_judging_takes_a_set_whose_first_pair_has_no_label(tmp_path):
    for scene in ("Beanbags", "Grove2"):
        (tmp_path / "other-data" / scene).mkdir(parents=True)
        for number in (10, 11):
            write_image(tmp_path / "other-data" / scene / f"frame{number}.png", texture(100))
    (tmp_path / "other-gt-flow" / "Grove2").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no true flow to judge by"):
        open_labelled(str(tmp_path))
    write_flow(tmp_path / "other-gt-flow" / "Grove2" / "flow10.flo", np.zeros((80, 100, 2), np.float32))
    dataset = open_labelled(str(tmp_path))
    assert len(dataset) == 2 and dataset[0].flow12 is None


def test_footage_is_never_removed_or_written_over(tmp_path, frames, capsys):
    run = tmp_path / "run"
    for place in (run / "curated" / "frames", run / "curated" / "deep" / "clip"):
        shutil.copytree(frames, place)
        (run / "curated" / "clips.json").write_text("[]")  # as of an adaptation that was stopped
        for _ in range(2):
            assert main(["adapt", str(place), "-o", str(run), *SMALL, "--overwrite"]) == 2
            assert "give another" in capsys.readouterr().err
            assert len(list(place.glob("*.png"))) == 5
