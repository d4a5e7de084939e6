"""Pass over a clip once, frame by frame, and measure what curation decides by."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from tqdm import tqdm

from mdflow.errors import InputError

SMALL_WIDTH = 320
SMALLEST = 32  # pixels a side: on fewer OpenCV's DIS, preset fast, ends the process or gives NaN
BORDER_EVERY = 8
REACH = 8
FAR_EVERY = 4


@dataclass
class Survey:
    """What one pass over a clip of n frames found; the arrays have one entry a frame.

    change: gray levels by which the most changed 5×5 part differs from the last distinct frame, at small
    size. motion: from the last distinct frame, the mean length of flow over the fastest tenth, in pixels of
    the frames. far_motion: the same from REACH distinct frames before, as a share of the width; NaN where
    not measured. residual: mean gray levels that flow cannot explain, as a share of the lesser deviation of the
    two frames. spread: deviation of the gray levels.
    brightest_row, brightest_column: the brightest 99th percentile that each row and column ever had.
    """

    change: np.ndarray
    motion: np.ndarray
    far_motion: np.ndarray
    residual: np.ndarray
    spread: np.ndarray
    unreadable: dict[int, str] = field(default_factory=dict)
    brightest_row: np.ndarray | None = None
    brightest_column: np.ndarray | None = None


def survey_clip(frames: Sequence[np.ndarray], same: float, blank: float) -> Survey:
    """Measure every frame of a clip.

    In gray levels: a change below `same` is a repetition, a spread below `blank` an empty picture. A frame of
    another size than the first, or one that cannot be read, is unreadable.
    """
    count = len(frames)
    survey = Survey(*(np.full(count, start) for start in (np.inf, 0.0, np.nan, 0.0, 0.0)))
    flow_of = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    distinct: deque[np.ndarray] = deque(maxlen=REACH)
    seen = 0
    for number, image in readable(frames, survey.unreadable):
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if number % BORDER_EVERY == 0 or survey.brightest_row is None:
            watch_borders(survey, gray)
        small = shrink(gray)
        survey.spread[number] = small.std()
        if survey.spread[number] < blank:
            # Flow to or from an empty picture means nothing: what follows starts afresh.
            distinct.clear()
            continue
        if distinct:
            flow = flow_of.calc(distinct[-1], small, None)
            survey.motion[number] = fastest(flow) * gray.shape[1] / small.shape[1]
            compare(survey, number, distinct[-1], small, flow)
        if survey.change[number] >= same:
            if len(distinct) == REACH and seen % FAR_EVERY == 0:
                survey.far_motion[number] = fastest(flow_of.calc(distinct[0], small, None)) / small.shape[1]
            distinct.append(small)
            seen += 1
    return survey


def readable(frames: Sequence[np.ndarray], unreadable: dict[int, str]) -> Iterator[tuple[int, np.ndarray]]:
    """The frames that can be read and have the first one's size, with their numbers; why not for the others."""
    shape = None
    for number in tqdm(range(len(frames)), desc="looking at frames", leave=False, disable=None):
        try:
            image = frames[number]
        except InputError as error:
            unreadable[number] = str(error)
            continue
        shape = shape or image.shape
        if image.shape == shape:
            yield number, image
        else:
            unreadable[number] = f"it is {image.shape[1]}x{image.shape[0]}, the first is {shape[1]}x{shape[0]}"


def shrink(gray: np.ndarray) -> np.ndarray:
    """The frame at SMALL_WIDTH or its own width, whichever is less, but no side below SMALLEST."""
    height, width = gray.shape
    scale = max(min(SMALL_WIDTH / width, 1), SMALLEST / min(height, width))
    size = (round(width * scale), round(height * scale))
    return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)


def fastest(flow: np.ndarray) -> float:
    """Mean length of the flow over the fastest tenth of the pixels: small movers count, noise hardly."""
    length = np.sort(np.linalg.norm(flow, axis=2), axis=None)
    return float(length[-max(length.size // 10, 1) :].mean())


def compare(survey: Survey, number: int, before: np.ndarray, small: np.ndarray, flow: np.ndarray) -> None:
    """Note how a small frame differs from the last distinct one, from which flow leads to it."""
    import torch  # here: footage is also read where there is no PyTorch (mdflow predict --onnx)

    from mdflow.geometry import warp

    difference = cv2.absdiff(before, small)
    survey.change[number] = cv2.blur(difference.astype(np.float32), (5, 5)).max()
    image, flow12 = torch.from_numpy(small).float()[None, None], torch.from_numpy(flow).permute(2, 0, 1)[None]
    change = warp(image, flow12, padding="border")[0, 0].numpy() - before
    # A flash or a change of exposure is no cut: it goes with the median.
    contrast = max(min(before.std(), small.std()), 1)
    survey.residual[number] = np.abs(change - np.median(change)).mean() / contrast


def watch_borders(survey: Survey, gray: np.ndarray) -> None:
    """Remember how bright each row and column has been."""
    row, column = np.percentile(gray, 99, axis=1), np.percentile(gray, 99, axis=0)
    if survey.brightest_row is None:
        survey.brightest_row, survey.brightest_column = row, column
    else:
        survey.brightest_row = np.maximum(survey.brightest_row, row)
        survey.brightest_column = np.maximum(survey.brightest_column, column)
