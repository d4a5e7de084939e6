"""Frames in order, from images, a folder or a video: one at a time, so that their number costs no memory."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mdflow.data.files import list_folders, list_images
from mdflow.data.io import read_image
from mdflow.data.pixels import IMAGE_SUFFIXES
from mdflow.data.video import Video
from mdflow.errors import InputError

LARGEST_UNREADABLE_SHARE = 0.1


class ImageFiles:
    """Image files as a sequence of (H,W,3) uint8 RGB frames, read on demand."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> np.ndarray:
        return read_image(self.paths[number])


@dataclass
class Footage:
    """Named frames of one size; `rate` in frames a second is None for images."""

    source: str
    names: list[str]
    frames: ImageFiles | Video
    rate: float | None = None
    unreadable: list[str] = field(default_factory=list)

    def pairs(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """(name of frame 1, frame 1, frame 2) of all consecutive readable frames.

        A frame that cannot be read is left out with both its pairs and listed in `unreadable`. Raises
        InputError when these are more than a tenth of all frames, or when two frames differ in size.
        """
        previous = None
        for number in range(len(self.names)):
            frame = self._read(number)
            if previous is not None and frame is not None:
                self._check_sizes(number, previous, frame)
                yield self.names[number - 1], previous, frame
            previous = frame

    def _read(self, number: int) -> np.ndarray | None:
        try:
            return self.frames[number]
        except InputError as error:
            self.unreadable.append(str(error))
            if len(self.unreadable) > LARGEST_UNREADABLE_SHARE * len(self.names):
                raise InputError(
                    f"More than a tenth of the frames cannot be read. {' '.join(self.unreadable)}"
                ) from error
            return None

    def _check_sizes(self, number: int, frame1: np.ndarray, frame2: np.ndarray) -> None:
        if frame1.shape != frame2.shape:
            names = f"'{self.names[number - 1]}' and '{self.names[number]}' of {self.source}"
            sizes = " and ".join(f"{frame.shape[1]}x{frame.shape[0]}" for frame in (frame1, frame2))
            raise InputError(f"{names} differ in size ({sizes}); all frames must have one size.")


def open_footage(inputs: Sequence[str | Path]) -> Footage:
    """The footage in two or more images, in a folder of images, or in a video.

    Raises InputError when there is no such file, or there are fewer than two frames.
    """
    paths = [Path(path) for path in inputs]
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise InputError(f"There is no {', '.join(missing)}; give two images, a folder of frames or a video.")
    if len(paths) == 1 and paths[0].is_file() and paths[0].suffix.lower() not in IMAGE_SUFFIXES:
        footage = _open_video(paths[0])
    else:
        images = list_images(paths[0]) if len(paths) == 1 and paths[0].is_dir() else paths
        footage = _open_images(str(paths[0] if len(paths) == 1 else paths[0].parent), images)
    folders = [] if footage.names else list_folders(paths[0])
    if folders:
        raise InputError(f"{paths[0]} holds folders and no frame of its own; give one of them, such as {folders[0]}.")
    if not footage.names and (others := [path for path in sorted(paths[0].iterdir()) if path.is_file()]):
        raise InputError(f"{paths[0]} holds no images; if its files are videos, give one of them, such as {others[0]}.")
    if len(footage.names) < 2:
        raise InputError(
            f"{paths[0]} holds {len(footage.names)} frame(s); give two images, a folder of frames or a video."
        )
    return footage


def _open_images(source: str, paths: Sequence[Path]) -> Footage:
    strange = [str(path) for path in paths if path.suffix.lower() not in IMAGE_SUFFIXES]
    if strange:
        raise InputError(f"Several inputs must be images ({', '.join(IMAGE_SUFFIXES)}), got {', '.join(strange)}.")
    names = [path.stem for path in paths]
    twice = [name for name, count in Counter(names[:-1]).items() if count > 1]  # a pair is named after its first
    if twice:
        raise InputError(
            f"Several of the images are named {', '.join(twice[:5])}; results are named after them, so rename them."
        )
    return Footage(source, names, ImageFiles(paths))


def _open_video(path: Path) -> Footage:
    # Frames are asked for in order: none need be remembered for later, and memory stays flat.
    video = Video(path, remembered=0)
    duration = float(video.seconds[-1] - video.seconds[0])
    rate = (len(video) - 1) / duration if duration > 0 else None
    return Footage(str(path), [f"{number:06d}" for number in range(len(video))], video, rate)
