"""What a person drops on the page: taken as footage, or refused in a sentence before any work is done."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mdflow.data.files import natural
from mdflow.data.pixels import IMAGE_SUFFIXES
from mdflow.data.video import VIDEO_SUFFIXES, duration
from mdflow.errors import InputError
from mdflow.footage import Footage, ImageFiles, Video, open_footage

MEGABYTE = 10**6


@dataclass(frozen=True)
class Limits:
    """What the page takes: megabytes a file, seconds a video, frames at one go."""

    megabytes: int = 500
    seconds: float = 600
    frames: int = 300


@dataclass
class Excerpt:
    """`count` frames (H,W,3) uint8 from number `first` on, reduced so that no side is longer than `longest`."""

    frames: ImageFiles | Video
    first: int
    count: int
    longest: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> np.ndarray:
        frame = self.frames[self.first + number]
        height, width = frame.shape[:2]
        scale = self.longest / max(height, width)
        if scale >= 1:
            return frame
        size = max(round(scale * width), 1), max(round(scale * height), 1)
        return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def open_upload(paths: Sequence[Path], limits: Limits) -> Footage:
    """All frames of a video, or of images in the order of their names.

    Raises InputError for nothing, another kind of file, a file or a video beyond the limits, or one frame only.
    """
    if not paths:
        raise InputError("There is nothing to look at yet; drop a video, or two or more images.")
    for path in paths:
        check_file(path, limits)
    videos = [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES]
    if videos and len(paths) > 1:
        raise InputError(
            f"{videos[0].name} came with other files; keep one video alone, or images only (× takes a file away)."
        )
    if len(paths) == 1 and not videos:
        raise InputError(f"{paths[0].name} is one frame only, and motion needs two; drop two images, or a video.")
    if videos:
        check_duration(videos[0], limits)
    return open_footage(sorted(paths, key=natural))


def check_file(path: Path, limits: Limits) -> None:
    """Raise InputError for a file that is neither a video nor an image by its name, or is too large."""
    if path.suffix.lower() not in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES):
        raise InputError(
            f"{path.name} is neither a video nor an image; "
            f"drop a video ({', '.join(VIDEO_SUFFIXES[:5])} ...) or images ({', '.join(IMAGE_SUFFIXES[:3])} ...)."
        )
    check_size(path.name, path.stat().st_size / MEGABYTE, limits)


def check_size(name: str, megabytes: float, limits: Limits) -> None:
    """Raise InputError for a file that is too large."""
    if megabytes > limits.megabytes:
        raise InputError(
            f"{name} has {megabytes:.0f} MB, and this page takes up to {limits.megabytes} MB; "
            "cut it, or use `mdflow predict`, which has no limit."
        )


def check_duration(path: Path, limits: Limits) -> None:
    """Raise InputError when the video's header says that it lasts too long."""
    seconds = duration(path)
    if seconds is not None and seconds > limits.seconds:
        raise InputError(
            f"{path.name} lasts {seconds:.0f} s, and this page takes videos of up to {limits.seconds:g} s; "
            "cut it, or use `mdflow predict`, which has no limit."
        )


def excerpt(footage: Footage, first: int, count: int, longest: int, limits: Limits) -> Footage:
    """`count` frames of the footage from number `first` on, or as many as there are, reduced to `longest` pixels.

    Raises InputError when that leaves fewer than two, or asks for more than the limit.
    """
    if count > limits.frames:
        raise InputError(f"{count} frames are too many at one go; choose at most {limits.frames}.")
    names = footage.names[first : first + count] if first >= 0 else []
    if len(names) < 2:
        raise InputError(
            f"Frames {first} to {first + count - 1} are not two of the {len(footage.names)} that there are; "
            "start earlier or take more."
        )
    return Footage(footage.source, names, Excerpt(footage.frames, first, len(names), longest), footage.rate)


def without_folders(sentence: str, paths: Sequence[Path]) -> str:
    """The sentence with the files called as the person knows them, not by where the page keeps them."""
    for path in paths:
        sentence = sentence.replace(str(path), path.name).replace(str(path.parent), "the upload")
    return sentence
