import cv2
import numpy as np
import pytest

from mdflow.commands import main
from mdflow.data.io import read_flow, write_image
from mdflow.data.synthetic import Synthetic
from mdflow.results import VideoFile


def noise(*shape: int, kind: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max + 1, shape, kind)


def test_a_pair_gives_a_flow_file_and_a_picture(tmp_path, capsys):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", noise(33, 47, 3))
    paths = [str(tmp_path / f"{name}.png") for name in ("a", "b")]
    assert main(["predict", "--network", "zero", *paths, "-o", str(tmp_path / "out")]) == 0
    assert "Wrote the flow of 1 pair(s)" in capsys.readouterr().out
    flow, _ = read_flow(tmp_path / "out" / "flow" / "a.flo")
    assert flow.shape == (33, 47, 2)
    assert (tmp_path / "out" / "colour" / "a.png").exists()


def test_a_video_gives_flow_files_and_videos(tmp_path):
    video = VideoFile(tmp_path / "clip.mp4", 25)
    for _ in range(3):
        video.write("", noise(32, 48, 3))
    video.close()
    command = ["predict", "--network", "zero", str(tmp_path / "clip.mp4"), "--both", "--format", "png"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    found = {path.name for path in (tmp_path / "out").iterdir()}
    folders = {"flow", "flow_backward", "occlusion1", "occlusion2"}
    assert found == folders | {"colour.mp4", "colour_backward.mp4", "figure.mp4"}
    assert sorted(path.name for path in (tmp_path / "out" / "flow").iterdir()) == ["000000.png", "000001.png"]


def test_frames_can_become_a_video(tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number in range(3):
        write_image(frames / f"{number}.png", noise(20, 30, 3))
    command = ["predict", "--network", "zero", str(frames), "--pictures", "mp4", "--format", "none"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["colour.mp4"]


def test_overwriting_is_asked_for(tmp_path, capsys):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", noise(20, 30, 3))
    paths = [str(tmp_path / f"{name}.png") for name in ("a", "b")]
    command = ["predict", "--network", "zero", *paths, "-o", str(tmp_path / "out")]
    assert main(command) == 0
    (tmp_path / "out" / "flow" / "a.flo").write_bytes(b"mine")
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "flow" / "a.flo").read_bytes() == b"mine"
    assert main([*command, "--overwrite"]) == 0
    assert (tmp_path / "out" / "flow" / "a.flo").read_bytes() != b"mine"


@pytest.mark.parametrize(
    "pixels",
    [noise(21, 35), noise(21, 35, 4), noise(21, 35, 3, kind=np.uint16), noise(5, 3, 3), noise(1, 1, 3)],
    ids=["gray", "alpha", "16 bit", "below the stride", "one pixel"],
)
def test_unusual_images_work(tmp_path, pixels):
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    paths = [str(tmp_path / f"{name}.png") for name in ("a", "b")]
    command = ["predict", "--network", "fastflownet", "--checkpoint", "untrained", *paths]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    flow, _ = read_flow(tmp_path / "out" / "flow" / "a.flo")
    assert flow.shape == (*pixels.shape[:2], 2)
    assert np.isfinite(flow).all()


def test_weights_may_be_named_with_the_network_and_the_network_left_out(tmp_path):
    for number, name in enumerate("ab"):
        write_image(tmp_path / f"{name}.png", np.roll(noise(64, 64, 3), number, axis=1))
    command = ["predict", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--option", "fine_iterations=0", "-o"]
    flows = []
    ways = [["--network", "fastflownet=untrained"], ["--checkpoint", "untrained"], ["--network", "fastflownet"], []]
    for number, way in enumerate(ways):
        assert main([*command, str(tmp_path / str(number)), *way]) == 0
        flows.append(read_flow(tmp_path / str(number) / "flow" / "a.flo")[0])
    assert np.array_equal(flows[0], flows[1])
    assert np.array_equal(flows[2], flows[3])
    assert not np.array_equal(flows[0], flows[2])


def test_fine_iterations_can_be_left_out(tmp_path):
    sample = Synthetic(length=1, size=(128, 192), motion=(1.0, 4.0), seed=11, texture_count=8)[0]
    for name, image in (("a", sample.image1), ("b", sample.image2)):
        write_image(tmp_path / f"{name}.png", image)
    command = ["predict", "--network", "fastflownet", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o"]
    assert main([*command, str(tmp_path / "fine")]) == 0
    assert main([*command, str(tmp_path / "plain"), "--option", "fine_iterations=0"]) == 0
    flows = [read_flow(tmp_path / folder / "flow" / "a.flo")[0] for folder in ("plain", "fine")]
    errors = [np.linalg.norm(flow - sample.flow12, axis=-1).mean() for flow in flows]
    assert errors[1] < 0.95 * errors[0]
