"""Images, masks and flow files: the one place that reads and writes them.

A flow is (H,W,2) float32 in pixels, (dx, dy), with a mask (H,W) bool of the pixels whose flow is known; the
others are 0. How a format says "unknown": .flo and .pfm by a value above 1e9 (Middlebury), KITTI's PNG by its
third channel, .flo5 and .npy by NaN (Spring).
"""

from pathlib import Path

import numpy as np

from mdflow.data.containers import Damage
from mdflow.data.formats import READERS, UNKNOWN_FLOW, WRITERS
from mdflow.data.pixels import decode_pixels, read_pixels, write_pixels
from mdflow.errors import InputError


def read_image(path: Path | str) -> np.ndarray:
    """The image of a PNG, JPEG, PPM, PGM or WebP file, (H,W,3) uint8 RGB.

    Gray becomes three equal channels, 16 bits become 8, a palette its colours; an alpha channel is dropped.
    Raises InputError naming the file when it is missing, damaged, or claims more pixels than it can hold.
    """
    return as_rgb(read_pixels(Path(path)), path)


def decode_image(data: bytes, name: str) -> np.ndarray:
    """The same of an image file's bytes; `name` says where they are from."""
    return as_rgb(decode_pixels(data, name), name)


def as_rgb(pixels: np.ndarray, path: Path | str) -> np.ndarray:
    """(H,W,3) uint8 RGB of pixels as OpenCV decodes them."""
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise InputError(f"{path} has {pixels.dtype} pixels; save it with 8 or 16 bits a channel.")
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels[..., 2::-1])


def read_mask(path: Path | str) -> np.ndarray:
    """The pixels of an image that are not black, (H,W) bool: occlusion, invalid and object maps."""
    pixels = read_pixels(Path(path))
    return pixels > 0 if pixels.ndim == 2 else (pixels[..., :3] > 0).any(axis=2)


def write_image(path: Path | str, image: np.ndarray) -> None:
    """Write (H,W,3) uint8 RGB or (H,W) uint8 gray, in the format that the suffix names."""
    write_pixels(Path(path), image[..., ::-1] if image.ndim == 3 else image)


def read_flow(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Flow (H,W,2) float32 and its known pixels (H,W) bool of a .flo, .pfm, .flo5, .npy or KITTI .png file.

    Raises InputError naming the file when it is missing, damaged, has NaN where its format does not use
    NaN for unknown, or claims a size that it does not hold.
    """
    path = Path(path)
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"{path} is not a flow file: expected one of {', '.join(READERS)}.")
    if not path.is_file():
        raise InputError(f"{path} cannot be read: there is no such file.")
    try:
        flow, valid = read(path)
    except Damage as damage:
        raise InputError(f"{path} cannot be read as a flow: {damage}.") from damage
    if not (np.isfinite(flow).all(axis=2) | ~valid).all():  # picking by a mask would take twice the flow's memory
        raise InputError(f"{path} has NaN or infinite flow; write unknown pixels as the format says (docs/data.md).")
    flow[~valid] = 0
    return flow, valid


def write_flow(path: Path | str, flow: np.ndarray, valid: np.ndarray | None = None) -> None:
    """Write flow (H,W,2) with its known pixels (all, by default) in the format that the suffix names.

    Every format gives back the same float32, KITTI's .png the nearest 1/64 px. Raises InputError when the
    flow has another shape or NaN, when KITTI's ±512 px do not hold it, or the file cannot be written.
    """
    path, flow = Path(path), np.asarray(flow, np.float32)
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise InputError(f"Cannot write a flow to {path}: expected one of {', '.join(WRITERS)}.")
    if flow.ndim != 3 or flow.shape[2] != 2 or (valid is not None and valid.shape != flow.shape[:2]):
        mask = "" if valid is None else f" with a mask {valid.shape}"
        raise InputError(f"Expected a flow (H,W,2) for {path}, got {flow.shape}{mask}.")
    valid = np.ones(flow.shape[:2], bool) if valid is None else valid.astype(bool)
    if not (np.abs(flow[valid]) < UNKNOWN_FLOW).all():
        raise InputError(f"The flow for {path} has NaN or infinite values; mark those pixels as not valid.")
    write(path, flow, valid)
