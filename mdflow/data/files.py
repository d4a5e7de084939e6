"""A dataset of pairs whose images and labels lie in files: each dataset says where, this reads them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdflow.data.io import read_flow, read_image, read_mask
from mdflow.data.pixels import IMAGE_SUFFIXES
from mdflow.data.sample import Sample
from mdflow.errors import InputError

NEIGHBOURS = 64  # pairs of one sequence, among which the one before is looked for: more than the frames between two


@dataclass(frozen=True)
class PairFiles:
    """The files of one pair; what the dataset does not have is None.

    occluded and invalid: images, not black where frame 2 does not show the pixel, or its flow is not known.
    matched12: a flow file that is known exactly where frame 2 shows the pixel (KITTI's flow_noc).
    objects1: an image, not black on moving objects. flow_step: flow values per image pixel and axis
    (Spring: 2).
    """

    name: str
    image1: Path
    image2: Path
    flow12: Path | None = None
    flow21: Path | None = None
    occluded1: Path | None = None
    occluded2: Path | None = None
    invalid1: Path | None = None
    invalid2: Path | None = None
    matched12: Path | None = None
    objects1: Path | None = None
    flow_step: int = 1


class FileDataset:
    """Pairs read from files on demand; cheap to pickle, nothing stays open."""

    name: str
    expected: str
    """What the dataset's folders look like, for the error that says so."""

    def __init__(self, root: Path, pairs: list[PairFiles]):
        self.root = root
        self.pairs = pairs
        if not pairs:
            raise InputError(f"{root} holds no pair of frames; expected {self.expected}.")

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return read_pair(self.pairs[index])

    def before(self, index: int) -> int | None:
        """The pair whose second frame is the first of this pair."""
        first = self.pairs[index].image1
        near = range(index - 1, max(index - NEIGHBOURS, 0) - 1, -1)
        return next((place for place in near if self.pairs[place].image2 == first), None)


def read_pair(files: PairFiles) -> Sample:
    """Read the images and labels of a pair; InputError when one is damaged or the sizes differ."""
    image1, image2 = read_image(files.image1), read_image(files.image2)
    if image1.shape != image2.shape:
        raise InputError(
            f"{files.image1} is {size(image1)} and {files.image2} is {size(image2)}: "
            "the frames of a pair need one size; keep frames of different sizes in different folders."
        )
    flow12, valid1 = read_labels(files.flow12, files.invalid1, files, image1)
    flow21, valid2 = read_labels(files.flow21, files.invalid2, files, image1)
    visible1 = invert(mask_of(files.occluded1, image1))
    if files.matched12:
        visible1 = read_labels(files.matched12, None, files, image1)[1]
    return Sample(
        name=files.name,
        image1=image1,
        image2=image2,
        flow12=flow12,
        valid1=valid1,
        visible1=visible1,
        flow21=flow21,
        valid2=valid2,
        visible2=invert(mask_of(files.occluded2, image1)),
        foreground1=mask_of(files.objects1, image1),
    )


def read_labels(
    flow_file: Path | None, invalid_file: Path | None, files: PairFiles, image: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Flow and validity at the image's resolution, or None and None."""
    if flow_file is None:
        return None, None
    flow, valid = read_flow(flow_file)
    flow, valid = flow[:: files.flow_step, :: files.flow_step], valid[:: files.flow_step, :: files.flow_step]
    if flow.shape[:2] != image.shape[:2]:
        raise InputError(
            f"{flow_file} has a flow for {size(flow)} pixels and {files.image1} is {size(image)}: "
            "a flow needs the size of its image; check that they belong together."
        )
    invalid = mask_of(invalid_file, image)
    return flow, valid if invalid is None else valid & ~invalid


def mask_of(path: Path | None, image: np.ndarray) -> np.ndarray | None:
    """The mask in a file, of its image's size."""
    if path is None:
        return None
    mask = read_mask(path)
    if mask.shape != image.shape[:2]:
        raise InputError(f"{path} is {size(mask)}, its image {size(image)}: a mask needs the size of its image.")
    return mask


def invert(mask: np.ndarray | None) -> np.ndarray | None:
    """The other pixels."""
    return None if mask is None else ~mask


def size(pixels: np.ndarray) -> str:
    """Width x height, for people."""
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def natural(path: Path) -> list:
    """Sort key that puts frame10 after frame9."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def list_images(folder: Path) -> list[Path]:
    """The images of a folder, in natural order."""
    return sorted((p for p in entries(folder) if p.suffix.lower() in IMAGE_SUFFIXES), key=natural)


def consecutive(images: list[Path], step: int = 1) -> list[tuple[Path, Path]]:
    """Each image with the one `step` after it."""
    return list(zip(images, images[step:], strict=False))


def successive(images: list[Path]) -> list[tuple[Path, Path]]:
    """Each image with the next, where the numbers that their names end with are successive.

    A sequence may lack a frame: its neighbours are no pair, and the label between them is of another.
    """
    ends = [re.search(r"(\d+)$", image.stem) for image in images]
    numbered = {int(end[1]): image for end, image in zip(ends, images, strict=True) if end}
    return [(image, numbered[number + 1]) for number, image in numbered.items() if number + 1 in numbered]


def list_folders(folder: Path) -> list[Path]:
    """The folders in a folder, in natural order; empty when it does not exist."""
    return sorted((p for p in entries(folder) if p.is_dir()), key=natural)


def entries(folder: Path) -> Iterable[Path]:
    """What is in a folder, hidden entries left out; nothing if it does not exist or is not ours to look into."""
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.is_dir() else []
    except PermissionError:
        return []


def require_folder(path: Path, expected: str) -> Path:
    """The path, or InputError that says what was expected there."""
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; expected {expected}.")
    return path


def require_cameras(cameras: Iterable[str], known: Iterable[str], name: str) -> None:
    """Raise InputError for a camera that the dataset does not have."""
    unknown = [str(camera) for camera in cameras if camera not in known]
    if unknown:
        raise InputError(f"The dataset {name} has no camera {unknown[0]}; expected some of {', '.join(known)}.")


def if_there(path: Path) -> Path | None:
    """The path when it exists: labels are optional."""
    return path if path.exists() else None
