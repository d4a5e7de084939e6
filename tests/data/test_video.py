"""Frames of videos: the right ones in any order, turned as they should be, and damage said."""

import gc
import multiprocessing
import pickle
import struct

import numpy as np
import pytest
from conftest import counted, encode, number_of

from mdflow.data import open_dataset
from mdflow.data.video import Video
from mdflow.errors import InputError

FRAMES = [counted(number) for number in range(60)]
ORDER = np.random.default_rng(0).permutation(60).tolist()
KINDS = [
    ("a.mp4", {"g": "24", "bf": "3"}),
    ("a.mkv", {"g": "250", "bf": "2"}),
    ("a.ts", {"g": "12"}),
    ("a.webm", {"codec": "libvpx-vp9", "g": "20"}),
    ("a.mpg", {"codec": "mpeg2video", "g": "12", "bf": "2"}),
    ("a.avi", {"codec": "mpeg4", "g": "12", "bf": "2"}),
    ("b.avi", {"codec": "mjpeg"}),
]


@pytest.mark.parametrize(("name", "options"), KINDS, ids=["-".join([n, *o.values()]) for n, o in KINDS])
@pytest.mark.parametrize("remembered", [0, 2**27])
def test_random_access_gives_the_frame_asked_for(tmp_path, name, options, remembered):
    video = Video(encode(tmp_path / name, FRAMES, **options), remembered)
    assert len(video) == 60
    assert [number_of(video[number]) for number in ORDER] == ORDER


def test_no_more_is_remembered_than_asked_for(tmp_path):
    path = encode(tmp_path / "a.mp4", FRAMES, g="60")
    video = Video(path)
    size = sum(plane.buffer_size for plane in video.frame(0).planes)
    kept = []
    for remembered in (0, 5 * size, 2**27):
        video = Video(path, remembered)
        assert number_of(video[59]) == 59
        kept.append(len(video.frames))
    assert kept[:2] == [2, 5]
    assert kept[2] > 5


def test_a_variable_frame_rate_changes_nothing_but_the_times(tmp_path):
    times = np.cumsum(np.random.default_rng(1).integers(10, 200, 60))
    video = Video(encode(tmp_path / "a.mkv", FRAMES, times, g="20"), 0)
    assert [number_of(video[number]) for number in ORDER] == ORDER
    assert np.allclose(np.diff(video.seconds), np.diff(times) / 1000)


def test_a_gap_of_two_frames_is_a_variable_rate(tmp_path):
    times = np.arange(12) * 40 + (np.arange(12) >= 6) * 40
    assert Video(encode(tmp_path / "a.mkv", FRAMES[:12], times)).notes() == ["variable frame rate"]
    assert Video(encode(tmp_path / "b.mkv", FRAMES[:12], np.arange(12) * 40)).notes() == []


def test_a_video_travels_to_another_process(tmp_path):
    video = Video(encode(tmp_path / "a.mp4", FRAMES[:5]))
    assert number_of(video[3]) == 3
    assert number_of(pickle.loads(pickle.dumps(video))[4]) == 4


def read_in_worker(video, numbers, shown):
    gc.collect()
    shown.put([number_of(video[number]) for number in numbers])


def test_a_forked_worker_reads_what_its_parent_has_open(tmp_path):
    """Neither waits for the other's decoder, nor moves the other's place in the file."""
    video = Video(encode(tmp_path / "a.mp4", FRAMES, g="12"), 0)
    forgotten = Video(video.path)
    forgotten.itself = forgotten
    assert number_of(video[20]) == number_of(forgotten[20]) == 20
    del forgotten
    fork = multiprocessing.get_context("fork")
    shown = fork.Queue()
    worker = fork.Process(target=read_in_worker, args=(video, [21, 59, 3], shown), daemon=True)
    worker.start()
    assert [number_of(video[number]) for number in (21, 22, 40)] == [21, 22, 40]
    assert shown.get(timeout=20) == [21, 59, 3]


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), 3), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_the_rotation_flag_is_followed(tmp_path, matrix, turns):
    """The track header of an .mp4 holds the matrix (a, b, u, c, d, v, x, y, w) in 16.16 fixed point."""
    path = encode(tmp_path / "a.mp4", FRAMES[37:39])
    plain = Video(path)[0]
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    assert np.array_equal(Video(path)[0], np.rot90(plain, turns))


def test_odd_sizes_are_kept(tmp_path):
    frames = [counted(number, 37, 53) for number in range(3)]
    assert Video(encode(tmp_path / "a.mkv", frames))[1].shape == (37, 53, 3)


def test_interlaced_frames_show_one_moment(tmp_path):
    """Two fields of different moments would show as a comb: neighbouring lines that differ."""
    comb = counted(1)
    comb[1::2] = counted(2)[1::2]
    path = encode(tmp_path / "a.mpg", [comb] * 5, codec="mpeg2video", flags="+ildct+ilme", qmin="1")
    video = Video(path)
    assert video.frame(2).interlaced_frame
    image = video[2].astype(int)
    assert np.abs(np.diff(image, axis=0)).max() < 40 and number_of(video[2]) == 1


def test_a_damaged_frame_is_said_and_the_rest_read(tmp_path):
    path = encode(tmp_path / "a.avi", FRAMES, codec="mjpeg")
    content = bytearray(path.read_bytes())
    place = content.index(b"movi")
    for _ in range(21):
        place = content.index(b"00dc", place + 1)
    length = int.from_bytes(content[place + 4 : place + 8], "little")
    content[place + 8 : place + 8 + length] = bytes(length)
    path.write_bytes(content)
    video = Video(path, 0)
    with pytest.raises(InputError, match=r"Frame 20 of .*a\.avi does not decode"):
        video[20]
    assert [number_of(video[number]) for number in (19, 21, 59)] == [19, 21, 59]


def test_a_file_that_breaks_off_gives_the_frames_it_has(tmp_path):
    path = encode(tmp_path / "a.ts", FRAMES, g="10")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    video = Video(path)
    assert 10 < len(video) < 50 and number_of(video[5]) == 5


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD_VIDEOS = [
    ("text.mp4", lambda path: path.write_text("no video"), "cannot be opened as a video"),
    ("empty.mp4", lambda path: path.write_bytes(b""), "cannot be opened as a video"),
    ("cut.mp4", lambda path: half(encode(path, FRAMES)), "cannot be opened as a video"),
    ("one.mp4", lambda path: encode(path, FRAMES[:1]), r"has 1 frame\(s\); a pair 1 apart needs more"),
    ("order.avi", lambda path: encode(path, FRAMES, bf="3"), "time stamps out of order; save it as .mp4"),
]


@pytest.mark.parametrize(("name", "make", "sentence"), BAD_VIDEOS, ids=[row[0] for row in BAD_VIDEOS])
def test_a_bad_video_is_said(tmp_path, name, make, sentence):
    make(tmp_path / name)
    with pytest.raises(InputError, match=f"{name}.*{sentence}"):
        open_dataset(tmp_path / name)


def test_a_folder_of_videos_leaves_the_bad_ones_out_and_lists_them(tmp_path, caplog):
    for number, name in enumerate(("a.mp4", "b.mkv")):
        encode(tmp_path / name, FRAMES[10 * number : 10 * number + 4])
    for name, make, _ in BAD_VIDEOS:
        make(tmp_path / name)
    dataset = open_dataset(tmp_path)
    assert {path.name for path in dataset.left_out} == {row[0] for row in BAD_VIDEOS}
    assert len(caplog.records) == len(BAD_VIDEOS)
    samples = [dataset[index] for index in range(len(dataset))]
    shown = [(number_of(sample.image1), number_of(sample.image2)) for sample in samples]
    assert shown == [(0, 1), (1, 2), (2, 3), (10, 11), (11, 12), (12, 13)]
    assert samples[3].name == "b/000000"


def test_videos_that_differ_in_their_suffix_alone_are_named_by_it(tmp_path):
    (tmp_path / "more").mkdir()
    for name in ("a.mp4", "a.mkv", "more/a.mp4"):
        encode(tmp_path / name, FRAMES[:2])
    assert {sample.name for sample in open_dataset(tmp_path)} == {"a.mp4/000000", "a.mkv/000000", "more/a/000000"}


def test_a_folder_of_bad_videos_only_is_an_error(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    with pytest.raises(InputError, match=r"gives no pair of frames: .*a\.mp4 cannot be opened"):
        open_dataset(tmp_path)


def test_few_files_are_open_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("mdflow.data.videos.OPEN_AT_ONCE", 2)
    for name in "abc":
        encode(tmp_path / f"{name}.mp4", FRAMES[:2])
    dataset = open_dataset(tmp_path)
    for index in (0, 1, 2, 0):
        assert number_of(dataset[index].image2) == 1
    assert sum("container" in vars(clip.video) for clip in dataset.clips) == 2
