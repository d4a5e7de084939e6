from pathlib import Path

import numpy as np
import pytest

from mdflow.data.io import write_image
from mdflow.demo_page.upload import Limits, check_size, excerpt, open_upload, without_folders
from mdflow.errors import InputError
from mdflow.results import VideoFile

LIMITS = Limits(megabytes=1, seconds=2, frames=5)


def write_images(folder: Path, count: int, size: tuple[int, int] = (12, 20)) -> list[Path]:
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        write_image(path, np.full((*size, 3), number, np.uint8))
    return paths


def write_video(path: Path, frames: int, rate: float) -> Path:
    video = VideoFile(path, rate)
    for _ in range(frames):
        video.write("", np.zeros((32, 32, 3), np.uint8))
    video.close()
    return path


def test_images_are_taken_in_the_order_of_their_names(tmp_path):
    footage = open_upload(write_images(tmp_path, 11)[::-1], LIMITS)
    assert footage.names == [str(number) for number in range(11)]
    assert [int(footage.frames[number].max()) for number in range(11)] == list(range(11))


def test_a_video_is_taken_with_its_rate(tmp_path):
    footage = open_upload([write_video(tmp_path / "clip.mp4", 10, 10)], LIMITS)
    assert len(footage.names) == 10
    assert footage.rate == pytest.approx(10)


def test_a_long_video_is_refused_by_its_header(tmp_path):
    with pytest.raises(InputError, match=r"^long\.mp4 lasts 3 s, and this page takes videos of up to 2 s; cut it"):
        open_upload([write_video(tmp_path / "long.mp4", 30, 10)], LIMITS)


def test_a_large_file_is_refused_before_it_is_opened(tmp_path):
    with (tmp_path / "huge.mp4").open("wb") as file:
        file.truncate(2 * 10**9)
    with pytest.raises(InputError, match=r"^huge\.mp4 has 2000 MB, and this page takes up to 1 MB"):
        open_upload([tmp_path / "huge.mp4"], LIMITS)
    check_size("small.mp4", 0.9, LIMITS)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ([], "There is nothing to look at yet; drop a video"),
        (["notes.txt"], r"^notes\.txt is neither a video nor an image; drop a video \(\.mp4"),
        (["0.png"], r"^0\.png is one frame only, and motion needs two"),
        (["0.png", "clip.mp4"], r"^clip\.mp4 came with other files; keep one video alone"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_a_sentence(tmp_path, names, sentence):
    write_images(tmp_path, 1)
    (tmp_path / "notes.txt").write_text("some notes")
    write_video(tmp_path / "clip.mp4", 2, 10)
    with pytest.raises(InputError, match=sentence):
        open_upload([tmp_path / name for name in names], LIMITS)


def test_an_excerpt_begins_where_asked_and_is_reduced(tmp_path):
    part = excerpt(open_upload(write_images(tmp_path, 5), LIMITS), first=2, count=3, longest=10, limits=LIMITS)
    assert part.names == ["2", "3", "4"]
    assert part.frames[1].shape == (6, 10, 3)
    assert int(part.frames[1].max()) == 3
    assert len(list(part.pairs())) == 2


def test_a_small_frame_is_not_enlarged(tmp_path):
    part = excerpt(open_upload(write_images(tmp_path, 2), LIMITS), 0, 5, 512, LIMITS)
    assert part.frames[0].shape == (12, 20, 3)


@pytest.mark.parametrize(("first", "count"), [(4, 3), (9, 3), (-1, 3), (0, 1)])
def test_an_excerpt_needs_two_frames(tmp_path, first, count):
    footage = open_upload(write_images(tmp_path, 5), LIMITS)
    with pytest.raises(InputError, match="are not two of the 5 that there are"):
        excerpt(footage, first, count, 512, LIMITS)


def test_an_excerpt_has_a_limit(tmp_path):
    with pytest.raises(InputError, match=r"6 frames are too many at one go; choose at most 5\."):
        excerpt(open_upload(write_images(tmp_path, 6), LIMITS), 0, 6, 512, LIMITS)


def test_sentences_do_not_tell_where_uploads_are_kept():
    paths = [Path("/secret/place/clip.mp4")]
    assert without_folders("/secret/place/clip.mp4 is cut off.", paths) == "clip.mp4 is cut off."
    assert "secret" not in without_folders("'1' and '2' of /secret/place differ.", paths)
