"""Curation: cuts, repeats, stillness, steps and borders are found where a clip was made to have them."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from conftest import encode

from mdflow.data import open_dataset
from mdflow.data.curation.contact import COLOURS, KEPT, contact_sheet
from mdflow.data.curation.curate import Rules, curate, is_cut, make_shot
from mdflow.data.curation.curated import clip_names, extract
from mdflow.data.curation.survey import shrink, survey_clip
from mdflow.data.io import read_image, write_image
from mdflow.errors import InputError

HEIGHT, WIDTH = 96, 128


def scene(seed: int, count: int, speed: float = 4.0) -> list[np.ndarray]:
    """Frames of a window that moves `speed` px a frame to the right over a smooth texture."""
    length = WIDTH + int(np.ceil(speed * count)) + 1
    noise = np.random.default_rng(seed).standard_normal((HEIGHT, length, 3)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 4), None, 30, 220, cv2.NORM_MINMAX)
    shifts = [np.float32([[1, 0, -speed * number], [0, 1, 0]]) for number in range(count)]
    return [cv2.warpAffine(texture, shift, (WIDTH, HEIGHT)).astype(np.uint8) for shift in shifts]


def noisy(frame: np.ndarray, seed: int) -> np.ndarray:
    """The frame with a camera's noise: not the same, and nothing moves."""
    noise = np.random.default_rng(seed).normal(0, 4, frame.shape)
    return np.clip(frame + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def clip(tmp_path):
    """clip(frames): a folder of them."""

    def write(frames):
        folder = tmp_path / "clip"
        folder.mkdir()
        for number, frame in enumerate(frames):
            write_image(folder / f"{number:03d}.png", frame)
        return folder

    return write


def stretches(curation):
    return [(shot.frames[0], shot.frames[-1]) for shot in curation.shots]


def test_shots_end_at_cuts(clip):
    curation = curate(clip(scene(0, 20) + scene(1, 15) + scene(2, 20)))
    assert stretches(curation) == [(0, 19), (20, 34), (35, 54)]
    assert not curation.left_out and len(curation.pairs) == 19 + 14 + 19


def test_a_flash_and_a_change_of_exposure_are_no_cuts(clip):
    frames = scene(0, 30)
    frames[10] = cv2.add(frames[10], np.full_like(frames[10], 30))
    frames[20:] = [cv2.subtract(frame, np.full_like(frame, 25)) for frame in frames[20:]]
    assert stretches(curate(clip(frames))) == [(0, 29)]


def test_a_cut_stands_out_among_its_neighbours():
    """Where flow explains nothing anywhere, water or fire, there is no cut."""
    residual = np.full(20, 0.5)
    assert not is_cut(SimpleNamespace(residual=residual), 10, range(20), Rules())
    residual = np.full(20, 0.2)
    residual[10] = 0.6
    assert is_cut(SimpleNamespace(residual=residual), 10, range(20), Rules())


def test_repeated_frames_are_left_out_and_their_neighbours_paired(clip):
    """24 frames a second shown as 30: every fourth frame twice."""
    frames = [frame for number, frame in enumerate(scene(0, 24)) for _ in range(1 + (number % 4 == 3))]
    curation = curate(clip(frames))
    assert set(curation.left_out) == {4, 9, 14, 19, 24, 29}
    assert curation.counts() == {"duplicate": 6}
    assert (3, 5) in curation.pairs and len(curation.pairs) == 23


def test_where_nothing_moves_is_left_out_in_spite_of_noise(clip):
    moving = scene(0, 50)
    frames = moving[:25] + [moving[25]] * 40 + moving[25:]
    curation = curate(clip([noisy(frame, seed) for seed, frame in enumerate(frames)]))
    still = {number for number, reason in curation.left_out.items() if reason == "static"}
    assert set(range(36, 54)) <= still <= set(range(24, 65))
    assert len(curation.shots) == 2


@pytest.mark.parametrize(("speed", "step"), [(0.5, 4), (1.0, 2), (5.0, 1), (12.0, 1), (0.1, 8)])
def test_the_step_brings_the_motion_into_the_range(clip, speed, step):
    curation = curate(clip(scene(0, 30, speed)), Rules(same=0.1, motion=(2, 24)))
    (shot,) = curation.shots
    assert shot.motion == pytest.approx(speed, rel=0.4) and shot.step == step
    assert all(second - first == shot.step for first, second in curation.pairs)


def test_a_step_carries_no_motion_beyond_the_range():
    survey = SimpleNamespace(motion=np.full(30, 15.0))
    assert make_shot(list(range(30)), survey, Rules(motion=(20, 24))).step == 1
    assert make_shot(list(range(30)), survey, Rules(motion=(20, 30))).step == 2


def test_the_motion_into_a_shot_is_not_its_own():
    survey = SimpleNamespace(motion=np.array([np.nan, 3.0, 99.0, 4.0]))
    assert make_shot([2, 3], survey, Rules()).motion == 4


def test_black_borders_are_cropped(clip):
    frames = scene(0, 12)
    for frame in frames:
        frame[:14], frame[-10:], frame[:, :6] = 0, 3, 16
    curation = curate(clip(frames))
    assert curation.crop == (14, HEIGHT - 10, 6, WIDTH) and curation.cropped
    assert "kept 122x72 of 128x96" in curation.summary()


def test_a_dark_picture_is_not_cropped_away(clip):
    frames = [np.where(np.arange(HEIGHT)[:, None, None] < 60, frame // 20, frame) for frame in scene(0, 12)]
    assert not curate(clip(frames)).cropped


def test_blank_frames_part_two_shots(clip):
    curation = curate(clip(scene(0, 12) + [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 5 + scene(0, 12)))
    assert stretches(curation) == [(0, 11), (17, 28)]
    assert curation.left_out[12] == "blank" and sum(curation.counts().values()) == 5


def test_unreadable_frames_and_frames_of_another_size_are_left_out_with_the_reason(clip):
    folder = clip(scene(0, 20))
    (folder / "005.png").write_bytes((folder / "005.png").read_bytes()[:500])
    write_image(folder / "011.png", np.zeros((8, 8, 3), np.uint8))
    curation = curate(folder)
    assert curation.counts() == {"unreadable": 2}
    assert "005.png cannot be read" in curation.left_out[5] and "8x8" in curation.left_out[11]


def test_a_pause_between_time_stamps_ends_a_shot(tmp_path):
    times = np.arange(24) * 40 + (np.arange(24) >= 12) * 2000
    video = encode(tmp_path / "a.mkv", scene(0, 24), times, qp="4")
    curation = curate(video)
    assert stretches(curation) == [(0, 11), (12, 23)] and curation.notes == ["variable frame rate"]


@pytest.mark.parametrize("size", [(120, 1920), (100, 2000), (6, 64), (2000, 20)])
def test_frames_of_any_size_are_surveyed(size):
    """Where OpenCV has too few pixels for its patches it ends the process."""
    frames = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    small = shrink(frames[0, ..., 0])
    assert min(small.shape) >= 32
    assert small.shape[0] / small.shape[1] == pytest.approx(size[0] / size[1], rel=0.02)
    assert np.isfinite(survey_clip(frames, same=1, blank=1).motion).all()


@pytest.mark.parametrize("kind", ["still", "black", "one"])
def test_a_clip_with_nothing_to_learn_from_is_said(clip, kind):
    frames = {
        "still": [noisy(scene(0, 1)[0], seed) for seed in range(20)],
        "black": [np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 5,
        "one": scene(0, 1),
    }[kind]
    with pytest.raises(InputError, match=r"Nothing of .*clip is left to learn from"):
        curate(clip(frames))


def test_what_is_written_opens_as_a_dataset_of_the_chosen_pairs(clip, tmp_path):
    frames = scene(0, 16)
    for frame in frames:
        frame[:10] = 0
    curation = curate(clip([*frames[:8], frames[7], *frames[8:], *scene(1, 10)]))
    out = tmp_path / "out"
    extract([curation, curation], out)
    dataset = open_dataset(out)
    assert dataset.name == "curated" and len(dataset) == 2 * len(curation.pairs) == 2 * (15 + 9)
    assert np.array_equal(dataset[8].image1, frames[8]) and dataset[7].name == "clip/000007-000009"
    assert json.loads((out / "clip.json").read_text())["left_out"] == {"8": "duplicate"}
    assert read_image(out / "clip_1.png").shape[2] == 3
    with pytest.raises(InputError, match="already holds curated pairs"):
        extract([curation], out)


def test_the_contact_sheet_shows_every_fate(clip):
    moving = scene(0, 20)
    blank = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    sheet = contact_sheet(curate(clip([*moving, moving[-1], blank, *scene(1, 20)])))
    assert all((sheet == colour).all(2).any() for colour in (KEPT, COLOURS["duplicate"], COLOURS["blank"]))
    assert not (sheet == COLOURS["static"]).all(2).any()


@pytest.mark.parametrize("content", ["{", '{"a": 1}', '[["a.png"]]', '[["../a.png", "b.png"]]', "[[1, 2]]"])
def test_a_list_of_pairs_that_cannot_be_trusted_is_said(tmp_path, content):
    (tmp_path / "pairs.json").write_text(content)
    with pytest.raises(InputError, match=r"pairs\.json"):
        open_dataset(tmp_path)


def test_videos_can_be_curated_when_they_are_opened(tmp_path):
    encode(tmp_path / "a.mp4", scene(0, 20) + scene(1, 20), qp="4")
    encode(tmp_path / "b.mp4", [scene(2, 1)[0]] * 20, qp="4")
    dataset = open_dataset(tmp_path, curate=True)
    assert len(dataset) == 19 + 19
    assert "Nothing of" in dataset.left_out[tmp_path / "b.mp4"]


def test_clips_have_names_of_their_own(tmp_path, monkeypatch):
    """Whatever files stand beside them, and wherever the clip is looked at from."""
    monkeypatch.chdir(tmp_path)
    sources = ["clips", "pairs.mp4", "x/a_1.mp4", "x/a.mp4", "y/a.mp4", "."]
    names = clip_names([Path(source) for source in sources])
    assert names == ["clips_1", "pairs_1", "a_1", "a", "a_2", tmp_path.stem]
