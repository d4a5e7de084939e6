"""Choose the pairs of a clip worth learning from: shots, without what is blank, still or repeated."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from mdflow.data.curation.survey import REACH, Survey, survey_clip
from mdflow.data.frames import FrameFolder
from mdflow.data.video import Video
from mdflow.errors import InputError

Crop = tuple[int, int, int, int]


@dataclass(frozen=True)
class Rules:
    """What is kept.

    motion: the range in pixels in which a shot's median motion should lie, at the step between frames
    chosen for it; largest_step bounds the step. same: gray levels of change under which a frame repeats the
    last one. still: motion over REACH frames, as a share of the width, under which nothing moves. blank:
    deviation of the gray levels under which there is nothing to see. cut, cut_ratio: how much of the frame's
    contrast flow cannot explain, and how much that is above its neighbourhood, at a cut (between unrelated
    clips 0.67 or more, within hand-held clips up to 0.3). pause: times the usual time between frames that end
    a shot. border: the gray level that the borders around a picture never exceed.
    """

    motion: tuple[float, float] = (2.0, 24.0)
    largest_step: int = 8
    same: float = 1.5
    still: float = 1 / 256
    blank: float = 2.0
    cut: float = 0.45
    cut_ratio: float = 2.5
    pause: float = 4.0
    border: float = 24.0


@dataclass(frozen=True)
class Shot:
    """Distinct frames without a cut, the step of its pairs, and the median motion of neighbours in pixels."""

    frames: tuple[int, ...]
    step: int
    motion: float

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Frame numbers of the pairs."""
        return list(zip(self.frames, self.frames[self.step :], strict=False))


@dataclass(frozen=True)
class Curation:
    """The shots of a clip, why each other frame was left out, and the picture within black borders.

    crop: the rows top to bottom and columns left to right that are kept, (top, bottom, left, right).
    """

    source: Path
    length: int
    shots: tuple[Shot, ...]
    left_out: dict[int, str]
    crop: Crop
    size: tuple[int, int]
    notes: list[str] = field(default_factory=list)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Frame numbers of all pairs."""
        return [pair for shot in self.shots for pair in shot.pairs]

    @property
    def cropped(self) -> bool:
        """Whether there were black borders."""
        return self.crop != (0, self.size[0], 0, self.size[1])

    def counts(self) -> dict[str, int]:
        """How many frames were left out, by reason."""
        return dict(Counter(reason.split(":")[0] for reason in self.left_out.values()))

    def summary(self) -> str:
        """The figures, for people."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.counts().items())) or "none"
        found = f"{len(self.pairs)} pairs in {len(self.shots)} shot(s)"
        lines = [f"{self.source}: {found}; of {self.length} frames left out: {reasons}"]
        if self.cropped:
            top, bottom, left, right = self.crop
            lines.append(f"  black borders: kept {right - left}x{bottom - top} of {self.size[1]}x{self.size[0]}")
        lines += [
            f"  shot {number}: frames {shot.frames[0]} to {shot.frames[-1]}, {shot.step} apart, "
            f"{len(shot.pairs)} pairs, median motion {shot.motion * shot.step:.1f} px"
            for number, shot in enumerate(self.shots)
        ]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])

    def as_dict(self) -> dict:
        """Everything as plain values, for JSON."""
        return asdict(self) | {
            "source": str(self.source),
            "counts": self.counts(),
            "pair_count": len(self.pairs),
        }


def curate(source: Path | str | Video | FrameFolder, rules: Rules = Rules()) -> Curation:
    """Survey a video file or a folder of frames once and choose its pairs.

    Raises InputError when the source cannot be opened, no frame can be read, or nothing is left.
    """
    frames = open_clip(source)
    survey = survey_clip(frames, rules.same, rules.blank)
    if survey.brightest_row is None:
        raise InputError(f"No frame of {frames.path} can be read: {next(iter(survey.unreadable.values()))}")
    left_out = {number: f"unreadable: {why}" for number, why in survey.unreadable.items()}
    left_out |= unfit(survey, rules, len(frames), set(left_out))
    shots = []
    for numbers in split_shots(survey, frames.seconds, rules, left_out):
        if len(numbers) < 2:
            left_out[numbers[0]] = "alone"
        else:
            shots.append(make_shot(numbers, survey, rules))
    size = (len(survey.brightest_row), len(survey.brightest_column))
    crop = (*picture(survey.brightest_row, rules.border), *picture(survey.brightest_column, rules.border))
    curation = Curation(frames.path, len(frames), tuple(shots), left_out, crop, size, frames.notes())
    if not shots:
        raise InputError(f"Nothing of {frames.path} is left to learn from: {curation.counts()}; loosen the rules.")
    return curation


def open_clip(source: Path | str | Video | FrameFolder) -> Video | FrameFolder:
    """The frames of a video file or a folder, by number."""
    if isinstance(source, Video | FrameFolder):
        return source
    return FrameFolder(source) if Path(source).is_dir() else Video(source)


def unfit(survey: Survey, rules: Rules, count: int, unreadable: set[int]) -> dict[int, str]:
    """Frames that are blank, repeat the last one, or where nothing moves, with the reason."""
    readable = [number for number in range(count) if number not in unreadable]
    reasons = dict.fromkeys((n for n in readable if survey.change[n] < rules.same), "duplicate")
    reasons |= dict.fromkeys((n for n in readable if survey.spread[n] < rules.blank), "blank")
    distinct = [number for number in readable if number not in reasons]
    return reasons | dict.fromkeys(still_frames(survey, distinct, rules.still), "static")


def still_frames(survey: Survey, distinct: list[int], still: float) -> list[int]:
    """Frames of which every stretch of REACH frames measured around them shows no motion."""
    far = survey.far_motion[distinct]
    moving, measured = np.zeros(len(distinct), bool), np.zeros(len(distinct), bool)
    places = np.flatnonzero(~np.isnan(far))
    for place in places:
        # The few frames after the last measurement go with it.
        stretch = slice(place - REACH, place + 1 if place < places[-1] else None)
        measured[stretch] = True
        moving[stretch] |= far[place] >= still
    return [number for number, out in zip(distinct, measured & ~moving, strict=True) if out]


def split_shots(survey: Survey, seconds: np.ndarray, rules: Rules, left_out: dict[int, str]) -> list[list[int]]:
    """The frames that remain, divided at cuts, pauses, and where blank or still frames were left out."""
    remaining = [number for number in range(len(seconds)) if number not in left_out]
    if not remaining:
        return []
    usual = np.median(np.diff(seconds[remaining])) if len(remaining) > 1 else 0
    shots = [[remaining[0]]]
    for before, number in pairwise(remaining):
        between = {left_out[n] for n in range(before + 1, number)}
        paused = seconds[number] - seconds[before] > rules.pause * usual
        if between & {"blank", "static"} or paused or is_cut(survey, number, remaining, rules):
            shots.append([])
        shots[-1].append(number)
    return shots


def is_cut(survey: Survey, number: int, remaining: Sequence[int], rules: Rules) -> bool:
    """Whether flow explains this frame from the last one far worse than its neighbours from theirs."""
    here = survey.residual[number]
    if here <= rules.cut:
        return False
    place = int(np.searchsorted(remaining, number))
    around = [n for n in remaining[max(place - REACH, 1) : place + REACH + 1] if n != number]
    return not around or here > rules.cut_ratio * float(np.median(survey.residual[around]))


def make_shot(numbers: list[int], survey: Survey, rules: Rules) -> Shot:
    """The shot with the smallest step that brings its median motion into the range."""
    motion = float(np.median(survey.motion[numbers[1:]]))
    wanted = int(np.ceil(rules.motion[0] / max(motion, 1e-3)))
    # A step that would carry the median beyond the range is worse than one that leaves it below.
    allowed = max(int(rules.motion[1] // max(motion, 1e-3)), 1)
    step = max(min(wanted, allowed, rules.largest_step, len(numbers) - 1), 1)
    return Shot(tuple(numbers), step, motion)


def picture(brightest: np.ndarray, border: float) -> tuple[int, int]:
    """From the first to past the last line ever brighter than the border; all lines if that is under half."""
    lit = np.flatnonzero(brightest > border)
    if not lit.size or lit[-1] + 1 - lit[0] < len(brightest) / 2:
        return 0, len(brightest)
    return int(lit[0]), int(lit[-1]) + 1
