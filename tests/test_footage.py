import numpy as np
import pytest

from mdflow.data.io import write_image
from mdflow.errors import InputError
from mdflow.footage import open_footage
from mdflow.results import VideoFile


@pytest.fixture
def frames(tmp_path):
    """Twelve small frames, frame n of brightness n, in a folder."""
    for number in range(12):
        write_image(tmp_path / f"frame{number}.png", np.full((6, 8, 3), number, np.uint8))
    return tmp_path


def brightness_of(footage):
    return [(name, int(frame1.max()), int(frame2.max())) for name, frame1, frame2 in footage.pairs()]


def test_a_folder_gives_its_frames_in_natural_order(frames):
    pairs = brightness_of(open_footage([frames]))
    assert pairs[0] == ("frame0", 0, 1)
    assert pairs[-1] == ("frame10", 10, 11)
    assert len(pairs) == 11


def test_images_give_pairs_in_the_order_given(frames):
    footage = open_footage([frames / "frame5.png", frames / "frame2.png"])
    assert brightness_of(footage) == [("frame5", 5, 2)]
    assert footage.rate is None


def test_a_video_gives_its_frames_and_rate(tmp_path):
    video = VideoFile(tmp_path / "clip.mp4", 30)
    for number in range(4):
        video.write("", np.full((32, 48, 3), 60 * number, np.uint8))
    video.close()
    footage = open_footage([tmp_path / "clip.mp4"])
    assert footage.rate == pytest.approx(30)
    pairs = list(footage.pairs())
    assert [name for name, _, _ in pairs] == ["000000", "000001", "000002"]
    assert [round(float(frame2.mean()) / 60) for _, _, frame2 in pairs] == [1, 2, 3]


def test_one_broken_frame_among_many_is_left_out_and_listed(frames):
    (frames / "frame5.png").write_bytes(b"broken")
    footage = open_footage([frames])
    assert [name for name, _, _ in footage.pairs()] == [f"frame{n}" for n in (0, 1, 2, 3, 6, 7, 8, 9, 10)]
    assert len(footage.unreadable) == 1
    assert "frame5.png" in footage.unreadable[0]


def test_more_than_a_tenth_of_broken_frames_stops(frames):
    for number in (5, 7):
        (frames / f"frame{number}.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"frame5.png.*frame7.png"):
        list(open_footage([frames]).pairs())


def test_a_long_video_leaves_no_frames_behind(tmp_path):
    video = VideoFile(tmp_path / "clip.mp4", 25)
    for _ in range(20):
        video.write("", np.zeros((32, 48, 3), np.uint8))
    video.close()
    footage = open_footage([tmp_path / "clip.mp4"])
    assert len(list(footage.pairs())) == 19
    assert len(footage.frames.frames) <= 2


def test_a_pair_is_named_after_its_first_frame_alone(tmp_path):
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
        write_image(tmp_path / side / "1.png", np.zeros((4, 5, 3), np.uint8))
    assert open_footage([tmp_path / "left/1.png", tmp_path / "right/1.png"]).names == ["1", "1"]


def test_a_folder_of_videos_is_told_to_give_one(tmp_path):
    (tmp_path / "clip.mp4").touch()
    with pytest.raises(InputError, match=r"holds no images; .* give one of them, such as .*clip\.mp4"):
        open_footage([tmp_path])
