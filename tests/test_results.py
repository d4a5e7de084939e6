import errno
import io
import os
from pathlib import Path

import av
import numpy as np
import pytest

from mdflow.data.io import read_flow, read_image, write_flow
from mdflow.directions import BothDirections
from mdflow.errors import InputError
from mdflow.results import Results, VideoFile

FLOW = np.full((21, 31, 2), (3, 0), np.float32)
IMAGE = np.zeros((21, 31, 3), np.uint8)


def both_of(visible: bool) -> BothDirections:
    mask = np.full((21, 31), visible)
    return BothDirections(FLOW, -FLOW, mask, mask)


def files_in(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_forward_flow_leaves_its_file_and_its_picture(tmp_path):
    with Results(tmp_path, "flo", None, None) as results:
        results.write_forward("a", FLOW)
    assert files_in(tmp_path) == {"flow/a.flo", "colour/a.png"}
    assert (read_flow(tmp_path / "flow" / "a.flo")[0] == FLOW).all()
    assert (read_image(tmp_path / "colour" / "a.png") == (255, 0, 0)).all()


def test_both_directions_leave_flows_occlusions_and_the_figure(tmp_path):
    with Results(tmp_path, "npy", None, None) as results:
        results.write_both("a", IMAGE, IMAGE, both_of(visible=False))
    kinds = {"colour", "colour_backward", "occlusion1", "occlusion2", "figure"}
    assert files_in(tmp_path) == {"flow/a.npy", "flow_backward/a.npy"} | {f"{kind}/a.png" for kind in kinds}
    assert (read_flow(tmp_path / "flow_backward" / "a.npy")[0] == -FLOW).all()
    assert (read_image(tmp_path / "occlusion1" / "a.png") == 255).all()
    height, width = read_image(tmp_path / "figure" / "a.png").shape[:2]
    assert height > 2 * 21
    assert width > 3 * 31


def test_pictures_only_leaves_no_data_files(tmp_path):
    with Results(tmp_path, None, None, None) as results:
        results.write_both("a", IMAGE, IMAGE, both_of(visible=True))
    assert files_in(tmp_path) == {"colour/a.png", "colour_backward/a.png", "figure/a.png"}


def test_a_rate_makes_videos_of_even_size(tmp_path):
    with Results(tmp_path, None, 12.5, None) as results:
        for number in range(3):
            results.write_forward(str(number), FLOW)
    assert files_in(tmp_path) == {"colour.mp4"}
    with av.open(str(tmp_path / "colour.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert float(container.streams.video[0].average_rate) == 12.5
    assert len(frames) == 3
    assert frames[0].shape == (22, 32, 3)
    assert np.abs(frames[0][:21, :31].astype(int) - (255, 0, 0)).max() < 12


def test_the_colour_scale_fades_slowly_and_spares_still_scenes(tmp_path):
    results = Results(tmp_path, None, None, None)
    results.write_forward("fast", 10 * FLOW)
    results.write_forward("slow", FLOW)
    assert results.scale == pytest.approx(0.95 * 30)
    still = Results(tmp_path, None, None, None)
    still.write_forward("still", 0.01 * FLOW)
    assert still.scale == 1
    fixed = Results(tmp_path, None, None, 7.0)
    fixed.write_forward("any", FLOW)
    assert fixed.scale == 7


def test_a_video_without_frames_closes(tmp_path):
    VideoFile(tmp_path / "empty.mp4", 25).close()


class FullDisk(io.BytesIO):
    """A file of which half can be written."""

    def write(self, data):
        super().write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_cannot_be_written_to_its_end_does_not_stay(tmp_path, monkeypatch):
    def half(path, mode):
        path.touch()
        return FullDisk()

    monkeypatch.setattr(Path, "open", half)
    with pytest.raises(InputError, match="No space left"):
        write_flow(tmp_path / "one.flo", np.zeros((4, 5, 2), np.float32))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_opened_stays_as_it_is(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    (tmp_path / "one.flo").write_bytes(b"mine")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        write_flow(tmp_path / "one.flo", np.zeros((4, 5, 2), np.float32))
    monkeypatch.undo()
    assert (tmp_path / "one.flo").read_bytes() == b"mine"
