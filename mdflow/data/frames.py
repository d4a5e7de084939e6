"""Folders of frames, with no labels."""

from pathlib import Path

import numpy as np

from mdflow.data.files import (
    FileDataset,
    PairFiles,
    consecutive,
    list_folders,
    list_images,
    require_folder,
)
from mdflow.data.io import read_image
from mdflow.errors import InputError


class Frames(FileDataset):
    """Frames `step` apart, of one folder of images or of each folder in a folder, in natural order."""

    name = "frames"
    expected = "a folder of two or more images of one size, or of folders of images"

    def __init__(self, root: Path | str, step: int = 1):
        root = require_folder(Path(root), self.expected)
        if step < 1:
            raise InputError(f"The step between the frames of {root} is {step}; expected 1 or more.")
        folders = [root] if list_images(root) else list_folders(root)
        pairs = [
            PairFiles(f"{folder.name}/{image1.stem}", image1, image2)
            for folder in folders
            for image1, image2 in consecutive(list_images(folder), step)
        ]
        super().__init__(root, pairs)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return bool(list_images(root)) or any(list_images(folder) for folder in list_folders(root))


class FrameFolder:
    """The images of one folder by number, as a Video gives its frames."""

    def __init__(self, path: Path | str):
        self.path = require_folder(Path(path), "a folder of images")
        self.images = list_images(self.path)
        if not self.images:
            raise InputError(f"{path} holds no image; expected a folder of frames.")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> np.ndarray:
        return read_image(self.images[number])

    @property
    def seconds(self) -> np.ndarray:
        """The time of each frame: files have none, so one second each."""
        return np.arange(len(self), dtype=float)

    def notes(self) -> list[str]:
        """What a person should know about the clip: nothing."""
        return []
