"""A contact sheet: what of a clip was kept, what was left out and why, at a glance."""

import cv2
import numpy as np

from mdflow.data.curation.curate import Curation, open_clip
from mdflow.errors import InputError

TILES, COLUMNS, TILE_WIDTH, CAPTION = 60, 8, 200, 22
KEPT = (60, 170, 80)
COLOURS = {
    "static": (90, 120, 220),
    "duplicate": (150, 90, 200),
    "blank": (120, 120, 120),
    "unreadable": (210, 50, 50),
    "alone": (220, 150, 40),
}


def contact_sheet(curation: Curation) -> np.ndarray:
    """Frames of the clip in order, (H,W,3) uint8 RGB: green where kept, else in the colour of the reason.

    The picture within black borders is outlined where there are such. About TILES frames are shown, at least
    one of each stretch of frames with one fate, as long as there are fewer of those.
    """
    frames = open_clip(curation.source)
    shot_of = {number: place for place, shot in enumerate(curation.shots) for number in shot.frames}
    tiles = [
        tile(thumbnail(frames, number, curation), number, shot_of.get(number), curation)
        for number in chosen(curation, shot_of)
    ]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    return np.vstack([heading(curation, rows[0].shape[1]), *rows])


def chosen(curation: Curation, shot_of: dict[int, int]) -> list[int]:
    """Frames to show: the middle of each stretch of one fate, and the rest evenly spread."""
    fates = [shot_of.get(number, curation.left_out.get(number)) for number in range(curation.length)]
    starts = [0] + [number for number in range(1, len(fates)) if fates[number] != fates[number - 1]]
    ends = [*starts[1:], len(fates)]
    middles = [(start + end) // 2 for start, end in zip(starts, ends, strict=True)]
    if len(middles) > TILES:
        middles = [middles[place] for place in np.linspace(0, len(middles) - 1, TILES).astype(int)]
    spread = np.linspace(0, len(fates) - 1, max(min(TILES, len(fates)) - len(middles), 1)).astype(int)
    return sorted({*middles, *spread.tolist()})


def thumbnail(frames, number: int, curation: Curation) -> np.ndarray:
    """The frame at the tile's width, the kept picture outlined; gray when it cannot be read."""
    height, width = curation.size
    size = (TILE_WIDTH, max(round(TILE_WIDTH * height / width), 1))
    try:
        image = cv2.resize(frames[number], size, interpolation=cv2.INTER_AREA)
    except InputError:
        # The caption says "unreadable", with the colour of it.
        return np.full((size[1], size[0], 3), 128, np.uint8)
    if curation.cropped:
        top, bottom, left, right = (round(line * TILE_WIDTH / width) for line in curation.crop)
        cv2.rectangle(image, (left, top), (right - 1, bottom - 1), (255, 220, 0), 1)
    return image


def tile(image: np.ndarray, number: int, shot: int | None, curation: Curation) -> np.ndarray:
    """The thumbnail in a frame of its fate's colour, with a caption."""
    reason = curation.left_out.get(number, "").split(":")[0]
    colour = KEPT if shot is not None else COLOURS[reason]
    caption = f"{number}: " + (f"shot {shot}" if shot is not None else reason)
    framed = cv2.copyMakeBorder(image, 4, CAPTION, 4, 4, cv2.BORDER_CONSTANT, value=colour)
    return write(framed, caption, (8, framed.shape[0] - 7), (255, 255, 255))


def heading(curation: Curation, width: int) -> np.ndarray:
    """The summary's lines, the first few of them, as many characters as fit."""
    lines = curation.summary().splitlines()[:8]
    strip = np.full((20 * len(lines) + 12, width, 3), 255, np.uint8)
    for place, line in enumerate(lines):
        write(strip, line, (8, 20 * (place + 1)), (0, 0, 0))
    return strip


def write(image: np.ndarray, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> np.ndarray:
    """Put text into the image; OpenCV's font knows only ASCII."""
    ascii_text = text.encode("ascii", "replace").decode()
    return cv2.putText(image, ascii_text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
