"""Folders of frames, with no labels."""

from pathlib import Path

from mdflow.data.files import (
    FileDataset,
    PairFiles,
    consecutive,
    list_folders,
    list_images,
    require_folder,
)
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
