"""Encoded images and their bytes: between files and the arrays that OpenCV gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from mdflow.data.containers import Damage, check_image_bytes
from mdflow.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".ppm", ".pgm", ".webp")


def read_bytes(path: Path) -> bytes:
    """The whole file; InputError when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def write_bytes(path: Path, data: bytes) -> None:
    """Write the whole file; InputError when that fails, and no half of it stays. What does not open is left alone."""
    try:
        with path.open("wb") as file, whole_or_gone(path):
            file.write(data)
            file.flush()
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error


@contextmanager
def whole_or_gone(path: Path) -> Iterator[None]:
    """Remove an open file that cannot be written to its end, but no device."""
    try:
        yield
    except OSError:
        if path.is_file():
            path.unlink()
        raise


def read_pixels(path: Path) -> np.ndarray:
    """The pixels as OpenCV decodes them: channels reversed, in the file's own depth.

    Raises InputError when the file is missing, damaged, or claims more pixels than it can hold.
    """
    return decode_pixels(read_bytes(path), path)


def decode_pixels(data: bytes, path: Path | str) -> np.ndarray:
    """The pixels of an image file's bytes; `path` says where they are from."""
    try:
        check_image_bytes(data)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (Damage, cv2.error) as error:
        why = error if isinstance(error, Damage) else "its pixels do not decode"
        raise InputError(f"{path} cannot be read as an image: {why}; leave it out or save it anew.") from error
    if pixels is None:
        raise InputError(f"{path} cannot be read as an image: its pixels do not decode; leave it out or save it anew.")
    return pixels


def write_pixels(path: Path, pixels: np.ndarray) -> None:
    """Encode pixels, channels reversed, in the format that the suffix names."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise InputError(f"Cannot write an image to {path}: expected one of {', '.join(IMAGE_SUFFIXES)}.")
    write_bytes(path, cv2.imencode(path.suffix, np.ascontiguousarray(pixels))[1].tobytes())
