"""Pictures of flows, (H,W,3) uint8 RGB: by colour, occlusion, error, and panels of them with labels."""

from collections.abc import Sequence

import cv2
import numpy as np

from mdflow.errors import InputError

# The colour wheel of Baker et al. (IJCV 2011): hues at these places of a circle of 55 steps, linear between.
# It is looked up at 4096 angles: interpolating at every pixel takes longer than some networks.
WHEEL_PLACES = np.array([0, 15, 21, 25, 36, 49, 55])
WHEEL_COLOURS = np.array(
    [[255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255], [0, 0, 255], [255, 0, 255], [255, 0, 0]]
)
ANGLES = 4096
HUES = np.stack(
    [np.interp(np.linspace(0, WHEEL_PLACES[-1], ANGLES + 1), WHEEL_PLACES, c) for c in WHEEL_COLOURS.T],
    axis=-1,
).astype(np.float32)
UNKNOWN_COLOUR = (0, 0, 0)
SMALLEST_SCALE = 1.0  # pixels that have full colour at least, so that the noise of a still scene stays pale
SMALLEST_CAPTION = 16
GAP = 2


def flow_to_colour(flow: np.ndarray, largest: float | None = None, valid: np.ndarray | None = None) -> np.ndarray:
    """Flow (H,W,2) by colour: the hue is the direction, white is standing still (Baker et al. 2011).

    `largest` is the speed in pixels that has full colour, by default the fastest known pixel's; what is
    faster has it too (the original darkens it). Pixels that are not finite or not `valid` (H,W) are black.
    """
    known = np.isfinite(flow).all(axis=-1)
    if valid is not None:
        known &= valid
    x, y = np.where(known, np.moveaxis(flow.astype(np.float32), -1, 0), 0)
    speed, angle = cv2.cartToPolar(x, y)
    speed /= max(float(speed.max()) if largest is None else largest, 1e-6)
    hue = HUES[np.rint(angle * (ANGLES / (2 * np.pi))).astype(np.int32)]
    colour = 255 - np.minimum(speed, 1)[..., None] * (255 - hue)
    colour[~known] = UNKNOWN_COLOUR
    return np.rint(colour).astype(np.uint8)


def typical_speed(flow: np.ndarray) -> float:
    """The speed that 99 % of the known pixels stay below, in pixels, or SMALLEST_SCALE: for flow_to_colour."""
    # A picture's few thousand pixels tell it as well as all of them.
    step = max(round((flow.size / 20000) ** 0.5), 1)
    speed = np.linalg.norm(flow[::step, ::step], axis=-1)
    return (
        max(float(np.quantile(speed[np.isfinite(speed)], 0.99)), SMALLEST_SCALE)
        if np.isfinite(speed).any()
        else SMALLEST_SCALE
    )


def occlusion_image(visible: np.ndarray) -> np.ndarray:
    """Mask (H,W), 1 = visible, as a picture: the occluded pixels are white."""
    return gray_image(1 - visible.astype(np.float32))


def gray_image(share: np.ndarray) -> np.ndarray:
    """A map (H,W) in [0,1] as a picture from black to white."""
    return _gray_to_rgb((255 * share).round().astype(np.uint8))


def error_image(error: np.ndarray, valid: np.ndarray | None = None, largest: float = 10.0) -> np.ndarray:
    """Error (H,W) in pixels from black (0) over red to white (`largest` or more); unknown is gray."""
    known = np.isfinite(error)
    if valid is not None:
        known &= valid
    share = np.clip(np.where(known, error, 0) / largest, 0, 1)
    picture = cv2.applyColorMap((255 * share).round().astype(np.uint8), cv2.COLORMAP_HOT)[..., ::-1].copy()
    picture[~known] = 128
    return picture


def panel(rows: Sequence[Sequence[np.ndarray]], labels: Sequence[Sequence[str]] = ()) -> np.ndarray:
    """One picture from rows of pictures (h,w,3) or (h,w), each cell resized to the first one's size.

    `labels` has the cells' captions in the same layout; rows or ends of rows may be missing. Rows of
    unequal length are filled with white.
    """
    if not rows or not rows[0]:
        raise InputError("A panel needs at least one row with one picture.")
    height, width = rows[0][0].shape[:2]
    columns = max(len(row) for row in rows)
    caption = max(SMALLEST_CAPTION, height // 25, width // 40) if any(text for row in labels for text in row) else 0
    canvas = np.full((len(rows) * (height + caption + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + caption + GAP), j * (width + GAP)
            cell = canvas[top : top + caption + height, left : left + width]
            cell[caption:] = _resized(picture, (height, width))
            if i < len(labels) and j < len(labels[i]):
                _write(cell[:caption], labels[i][j])
    return canvas


def _gray_to_rgb(picture: np.ndarray) -> np.ndarray:
    return np.repeat(picture[..., None], 3, axis=-1) if picture.ndim == 2 else picture


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if picture.shape[:2] != size:
        picture = cv2.resize(picture, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return _gray_to_rgb(picture)


def _write(strip: np.ndarray, text: str) -> None:
    # The built-in font has no accents or Greek: a caption is plain ASCII. Drawn on a copy, since a slice of
    # the canvas is not contiguous.
    drawn = np.ascontiguousarray(strip)
    height, width = strip.shape[:2]
    place, font, scale = (2, round(0.7 * height)), cv2.FONT_HERSHEY_SIMPLEX, height / 42
    (taken, _), _ = cv2.getTextSize(text, font, scale, 1)
    scale *= min(1, (width - 4) / max(taken, 1))
    cv2.putText(drawn, text, place, font, scale, (0, 0, 0), max(1, round(scale)), cv2.LINE_AA)
    strip[:] = drawn
