"""What a user sees when something given cannot be used: one row a case, (command, sentence); status 2 always.

Commands run in a folder with the files that `make_files` lays out. To add a case: a row, and its file.
"""

import os
import pickle
import re
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mdflow.checkpoint import save_network
from mdflow.commands import main
from mdflow.data.io import write_flow, write_image
from mdflow.networks import create
from mdflow.results import VideoFile

PREDICT = "predict --network zero"
EVALUATE = "evaluate --network zero"
FASTFLOWNET = "predict --network fastflownet --checkpoint"
PRETRAIN = "pretrain --network fastflownet -o out --data"

ROWS = [
    # Inputs of predict
    (
        f"{PREDICT} missing.png a.png -o out",
        r"There is no .*missing\.png; give two images, a folder .* video",
    ),
    (f"{PREDICT} empty -o out", r"empty holds 0 frame\(s\); give two images, a folder"),
    (f"{PREDICT} fine -o out", r"fine holds folders and no frame of its own; give one of them, such as fine/data"),
    (f"{PREDICT} a.png -o out", r"a\.png holds 1 frame\(s\); give two images, a folder"),
    (f"{PREDICT} one.mp4 -o out", r"one\.mp4 holds 1 frame\(s\); give two images, a folder"),
    (f"{PREDICT} text.mp4 -o out", r"text\.mp4 cannot be opened as a video"),
    (f"{PREDICT} script.mp4 -o out", r"script\.mp4 cannot be opened as a video"),
    (f"{PREDICT} truncated.png a.png -o out", r"truncated\.png cannot be read as an image: it is truncated"),
    (f"{PREDICT} absurd.png a.png -o out", r"absurd\.png cannot be read .* claims an image of 60000x60000"),
    (f"{PREDICT} mixed -o out", r"'1' and '2' of mixed differ in size \(8x6 and 9x6\)"),
    (f"{PREDICT} notes.txt a.png -o out", r"Several inputs must be images .* got .*notes\.txt"),
    # Outputs of predict
    (f"{PREDICT} a.png b.png -o full", r"'full' is not empty; use --overwrite"),
    (f"{PREDICT} a.png b.png -o notes.txt", r"'notes\.txt' is a file; give a folder"),
    (f"{PREDICT} a.png b.png -o flow.flo", r"'flow\.flo' looks like a file; give a folder"),
    (f"{PREDICT} a.png b.png -o notes.txt/out", r"folder 'notes\.txt/out' cannot be made: Not a directory"),
    (f"{PREDICT} a.png b.png -o blocked --overwrite", r"folder 'blocked/flow' cannot be made: File exists"),
    (f"{PREDICT} a.png a.png mixed/1.png -o out", r"Several of the images are named a; .* rename them"),
    # Networks and how they are used
    ("predict --network fastflow a.png b.png -o out", r"network 'fastflow': did you mean 'fastflownet'\?"),
    (f"{FASTFLOWNET} missing.pth a.png b.png -o out", r"'missing\.pth' do not exist; expected a .* file"),
    (f"{FASTFLOWNET} run a.png b.png -o out", r"'run' are a folder, in which there is no weights.*; expected a file"),
    (f"{FASTFLOWNET} code.pth a.png b.png -o out", r"'code\.pth' is not a plain weight file"),
    (f"{FASTFLOWNET} notes.txt a.png b.png -o out", r"'notes\.txt' is no weight file"),
    (f"{FASTFLOWNET} other.safetensors a.png b.png -o out", r"'other\.safetensors' holds the network 'zero'"),
    (
        f"{FASTFLOWNET} other.pth a.png b.png -o out",
        r"'other\.pth' do not fit FastFlowNet; missing: .*unexpected: x",
    ),
    (f"{PREDICT} --option iterations a.png b.png -o out", r"'iterations' has no value; expected KEY=VALUE"),
    (f"{PREDICT} --option iterations=3 a.png b.png -o out", r"'zero' has no option iterations"),
    (f"{PREDICT} --option iterations=[ a.png b.png -o out", r"'iterations=\[' cannot be read; expected KEY=VALUE"),
    (
        "predict --network raft --checkpoint untrained --option iterations=many a.png b.png -o out",
        r"option iterations=many of 'raft' is no whole number",
    ),
    (f"{PREDICT} --fit resize --size 0x0 a.png b.png -o out", r"'0x0' is no size; expected HEIGHTxWIDTH"),
    (f"{PREDICT} --size 64 a.png b.png -o out", r"argument --size: '64' is no size; expected HEIGHTxWIDTH"),
    (f"{PREDICT} --size 64x64 a.png b.png -o out", r"size goes with the fit 'resize'"),
    (
        f"{FASTFLOWNET} untrained --fit resize --size 65x64 a.png b.png -o out",
        r"65x64 is no multiple of the network's stride 64; give for example 128x64",
    ),
    (f"{PREDICT} --scale 0 a.png b.png -o out", r"scale 0\.0 is out of range; expected a speed above 0"),
    (f"{PREDICT} --device quantum a.png b.png -o out", r"device 'quantum' cannot be used here"),
    # Evaluation
    (EVALUATE, r"No set to measure on was given; use --sintel .* ROOT"),
    (f"{EVALUATE} --data missing", r"'missing' does not exist; expected a data set's root"),
    (f"{EVALUATE} --data empty", r"empty holds nothing: no data set is recognised there"),
    (
        f"{EVALUATE} --kitti2015 empty",
        r"empty/training/image_2 is not a folder; expected ROOT/training/image_2",
    ),
    (f"{EVALUATE} --sintel empty", r"empty/training/clean is not a folder; expected ROOT/training/clean"),
    (f"{EVALUATE} --chairs wrong_size", r"00001_flow\.flo has a flow for 9x6 pixels and .* is 8x6"),
    (f"{EVALUATE} --chairs not_a_number", r"00001_flow\.flo has NaN or infinite flow"),
    (f"{EVALUATE} --chairs absurd", r"00001_flow\.flo cannot be read as a flow"),
    (f"{EVALUATE} --chairs fine --json notes.txt", r"'notes\.txt' exists; use --overwrite to replace it"),
    (f"{EVALUATE} --chairs fine --json empty", r"'empty' is a folder; give a file"),
    (
        f"{EVALUATE} --network dis --checkpoint other.pth --chairs fine",
        r"One --checkpoint cannot serve several networks; write --network NAME=FILE",
    ),
    ("evaluate --synthetic 1 --network zero=a.pth --checkpoint b.pth", r"zero=a\.pth names its weights already"),
    (f"{EVALUATE} --chairs fine --json notes.txt/x.json", r"folder 'notes\.txt' cannot be made"),
    (f"{EVALUATE} --synthetic 0", r"'0' is no number of pairs; expected 1 or more"),
    (f"{EVALUATE} --submission out", r"A submission needs one --network and some of --sintel ROOT"),
    (f"{EVALUATE} --sintel empty --submission out", r"empty/test/clean is not a folder"),
    # Training
    (f"{PRETRAIN} missing", r"missing does not exist; expected a video, a folder of frames"),
    (
        f"{PRETRAIN} fine --set data.held_out=[gone]",
        r"the setting data\.held_out, cannot be used: gone does not exist; .*; give --set 'data\.held_out=\[PATH\]'",
    ),
    (f"{PRETRAIN} empty", r"empty holds nothing: no data set is recognised there; expected"),
    (f"{PRETRAIN} one.mp4", r"one\.mp4 has 1 frame\(s\)"),
    (f"{PRETRAIN} text.mp4", r"text\.mp4 cannot be opened as a video"),
    (
        "pretrain --network fastflow -o out --data synthetic",
        r"network 'fastflow': did you mean 'fastflownet'\?",
    ),
    ("pretrain --network zero -o out --data synthetic", r"'zero' has no weights to train; choose another network"),
    (f"{PRETRAIN} synthetic --set los.census=1", r"Unknown setting 'los': did you mean 'loss'"),
    (f"{PRETRAIN} synthetic --set loss.cencus=1", r"Unknown setting 'loss\.cencus': did you mean 'census'"),
    (f"{PRETRAIN} synthetic --set loss.census=-1", r"'loss\.census' is -1: .* greater than or equal to 0"),
    (f"{PRETRAIN} synthetic --set loss.census=much", r"'loss\.census' is 'much': .* valid number"),
    (f"{PRETRAIN} synthetic --set steps", r"Cannot read the setting 'steps'; expected key\.sub=value"),
    (f"{PRETRAIN} synthetic --steps 0", r"'steps' is 0: .* greater than or equal to 1"),
    (f"{PRETRAIN} synthetic --config notes.txt", r"The config 'notes\.txt' holds a str; expected key: value"),
    (f"{PRETRAIN} synthetic --init shiped", r"The weights 'shiped' do not exist"),
    (f"{PRETRAIN} synthetic?length=0", r"'length' is 0: input should be greater than or equal to 1"),
    (f"{PRETRAIN} synthetic --config missing.yaml", r"Cannot read the config 'missing\.yaml': No such file"),
    (f"{PRETRAIN} synthetic --init other.safetensors", r"'other\.safetensors' holds the network 'zero'"),
    (f"{PRETRAIN} synthetic --init code.pth", r"'code\.pth' is not a plain weight file"),
    (f"{PRETRAIN} synthetic --device quantum", r"device 'quantum' cannot be used here"),
    ("pretrain -o run --data synthetic", r"'run' holds a run already; use --resume to go on, --overwrite"),
    ("pretrain -o run --data synthetic --resume", r"'run' was started with other settings: .* to resume"),
    ("pretrain -o notes.txt --data synthetic", r"Cannot write to 'notes\.txt': Not a directory"),
    ("distill --teacher zero --student raft -o out --data synthetic", r"'zero' has no weights to train"),
    ("distill --student nobody -o out --data synthetic", r"Unknown network 'nobody': expected one of fastflownet"),
    # The page
    ("demo --network fastflow", r"network 'fastflow': did you mean 'fastflownet'\?"),
    ("demo --network fastflownet=missing.pth", r"missing\.pth"),
    ("demo --network fastflownet=code.pth", r"'code\.pth' is not a plain weight file"),
    ("demo --port 70000", r"port 70000 is out of range; expected 1 to 65535"),
    ("demo --frames 1", r"--frames 1 leaves nothing to look at; expected 2 or more"),
    ("demo --device quantum", r"device 'quantum' cannot be used here"),
    # Adaptation
    ("adapt missing -o out", r"missing does not exist; expected a video, a folder of videos, or a folder of frames"),
    ("adapt empty -o out", r"empty holds nothing: no data set is recognised there; expected"),
    ("adapt a.png -o out", r"a\.png is a single image; expected a video, a folder"),
    ("adapt text.mp4 -o out", r"text\.mp4 cannot be opened as a video"),
    ("adapt fine -o out --judge empty", r"empty holds nothing: no data set is recognised there"),
    (
        "adapt fine -o out --steps 3 --rounds 1",
        r"--steps 3 is too few for pretraining and 1 round\(s\); expected at least 4",
    ),
    ("adapt fine -o out --rounds -1", r"--rounds -1 is out of range"),
    ("adapt fine -o out --size 64x100", r"The crop 64x100 does not fit 'fastflownet'; give a --size of multiples"),
    ("adapt fine -o out --set lables=1", r"Unknown setting 'lables'"),
    ("adapt fine -o out --rounds 1 --student zero --student-init untrained", r"'zero' has no weights to train"),
    ("adapt fine -o out --init other.safetensors", r"'other\.safetensors' holds the network 'zero'"),
    ("adapt fine -o notes.txt", r"folder 'notes\.txt/pretrain' cannot be made|Cannot write to 'notes\.txt/pretrain'"),
    # Deployment
    (f"{PREDICT} --onnx broken.onnx a.png b.png -o out", r"ONNX file is a network .*; leave out --network"),
    ("predict --network zero=a.pth --checkpoint b.pth a.png b.png -o out", r"zero=a\.pth names its weights already"),
    ("export --network zero=a.pth --checkpoint b.pth -o out.onnx", r"zero=a\.pth names its weights already"),
    (
        "predict --onnx missing.onnx a.png b.png -o out",
        r"'missing\.onnx' does not exist; expected an \.onnx|pip install",
    ),
    ("predict --onnx notes.txt a.png b.png -o out", r"'notes\.txt' is no \.onnx file|pip install"),
    ("predict --onnx broken.onnx a.png b.png -o out", r"'broken\.onnx' cannot be run by ONNX|pip install"),
    (f"{PREDICT} --checkpoint empty --stage int a.png b.png -o out", r"'empty' has no int\.onnx; --stage int needs"),
    (f"{EVALUATE} --stage qat --synthetic 1", r"'' has no qat\.safetensors; --stage qat needs a folder"),
    ("export --network fastflownet -o notes.txt", r"'notes\.txt' exists; use --overwrite"),
    ("export --network fastflownet -o flow.model", r"'flow\.model' is no name of an ONNX file; give one that ends"),
    ("export --network fastflow -o out.onnx", r"Unknown network 'fastflow'"),
    ("export --network fastflownet --data fine -o out.onnx", r"takes 448x1024, 'fine' has 6x8; give one of these"),
    ("quantize --network fastflownet --stage int", r"following arguments are required: -o"),
    ("quantize --network fastflownet --stage qat -o out --init shipped", r"unrecognized arguments: --init"),
    ("export --network dis -o out.onnx", r"'dis' has no weights to export|pip install"),
    ("quantize --network fastflownet --stage calibration --pairs 0 -o out", r"--pairs 0 is out of range"),
    ("quantize --network fastflownet --stage calibration --floats 120 -o out", r"--floats 120.0 is out of range"),
    ("quantize --network fastflownet --stage sharp -o out", r"invalid choice: 'sharp'"),
    ("profile zero", r"'zero' has no parameters to count"),
    ("profile fastflownet --threads 0", r"--threads 1 or more"),
    ("pack missing -o out.lmdb", r"missing does not exist; expected a video"),
    ("pack fine -o empty", r"'empty' is a folder; give a file such as clips\.lmdb"),
    ("pack fine -o notes.txt", r"'notes\.txt' exists and is no packed dataset"),
    ("pack fine -o out.lmdb --workers -1", r"--workers -1 is out of range"),
    # Shards
    ("shard --data missing -o out", r"missing does not exist; expected a video, a folder of frames"),
    ("shard --data synthetic -o out --pairs 0", r"shard of 0 pairs is none; give --pairs 1 or more"),
    ("shard --data mixed -o sharded", r"'sharded' holds shards already; use --overwrite"),
    (f"{PRETRAIN} notes.tar", r"notes\.tar cannot be read as a tar file"),
    (f"{PRETRAIN} shards=notes.txt", r"some notes cannot be read as a tar file"),
    (f"{PRETRAIN} synthetic --config alias.yaml", r"alias\.yaml' is not valid YAML: it has an alias"),
    # No verb
    ("frobnicate", r"^mdflow: Unknown verb 'frobnicate': expected one of .*predict"),
]


class Malice:
    """What a stranger's pickle may do: here it leaves a file."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def make_chairs(root: Path, flow: np.ndarray) -> Path:
    """One pair of 8x6 pixels in FlyingChairs' layout; returns its flow file."""
    (root / "data").mkdir(parents=True)
    for number in (1, 2):
        write_image(root / "data" / f"00001_img{number}.ppm", np.zeros((6, 8, 3), np.uint8))
    write_flow(root / "data" / "00001_flow.flo", flow)
    return root / "data" / "00001_flow.flo"


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims an enormous size."""
    header = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    chunks = [header, b"IDAT" + zlib.compress(b"\0" * 100), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (len(chunk) - 4).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) for chunk in chunks
    )


def make_files() -> None:
    """Good and bad files of every kind, in the working folder."""
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    for name in ("a.png", "b.png"):
        write_image(name, image)
    Path("empty").mkdir()
    Path("full").mkdir()
    Path("full/mine.txt").write_text("precious")
    Path("notes.txt").write_text("some notes")
    Path("broken.onnx").write_text("no network")
    Path("notes.tar").write_text("no archive")
    Path("sharded").mkdir()
    Path("sharded/000000.tar").write_bytes(b"")
    Path("alias.yaml").write_text("a: &a 1\nb: *a")
    Path("blocked").mkdir()
    Path("blocked/flow").write_text("no folder")
    Path("run").mkdir()
    Path("run/config.yaml").write_text("steps: 3")
    Path("run/metrics.jsonl").touch()
    Path("text.mp4").write_text("no video at all")
    Path("script.mp4").write_text("ffconcat version 1.0\nfile one.mp4\n")
    video = VideoFile(Path("one.mp4"), 25)
    video.write("", np.zeros((32, 32, 3), np.uint8))
    video.close()
    Path("truncated.png").write_bytes(cv2.imencode(".png", image)[1].tobytes()[:-20])
    Path("absurd.png").write_bytes(png_that_claims(60000, 60000))
    Path("mixed").mkdir()
    for name, width in (("1", 8), ("2", 9)):
        write_image(f"mixed/{name}.png", np.zeros((6, width, 3), np.uint8))
    make_checkpoints()
    flow = np.zeros((6, 8, 2), np.float32)
    make_chairs(Path("fine"), flow)
    make_chairs(Path("wrong_size"), np.zeros((6, 9, 2), np.float32))
    bad = make_chairs(Path("not_a_number"), flow)
    bad.write_bytes(bad.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    bad = make_chairs(Path("absurd"), flow)
    bad.write_bytes(bad.read_bytes()[:4] + np.int32([2**30, 2**30]).tobytes())


def make_checkpoints() -> None:
    """Files that are no weights of FastFlowNet."""
    with Path("code.pth").open("wb") as file:
        pickle.dump(Malice(), file, protocol=2)
    save_network(Path("other.safetensors"), create("zero"))
    torch.save({"x": torch.zeros(1)}, "other.pth")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that all rows share: no command may change it."""
    folder = tmp_path_factory.mktemp("bad_input")
    before = Path.cwd()
    os.chdir(folder)
    make_files()
    os.chdir(before)
    return folder


def content_of(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def status_of(command: str) -> int:
    """The exit status; argparse exits by itself."""
    try:
        return main(command.split())
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize(("command", "sentence"), ROWS, ids=[command for command, _ in ROWS])
def test_bad_input_gives_one_sentence_and_changes_nothing(folder, monkeypatch, capfd, command, sentence):
    monkeypatch.chdir(folder)
    before = content_of(folder)
    assert status_of(command) == 2
    # What FFmpeg itself prints, and a progress bar, may stand above; the last line is ours.
    message = capfd.readouterr().err.rstrip("\n").split("\n")[-1].split("\r")[-1]
    assert message.startswith(f"mdflow {command.split()[0]}: ") or command == "frobnicate"
    assert "Traceback" not in message
    assert re.search(sentence, message), message
    assert content_of(folder) == before
    assert not Path("executed").exists()


def test_debug_shows_the_traceback(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match=r"There is no missing\.png"):
        main(f"{PREDICT} missing.png a.png -o out --debug".split())
