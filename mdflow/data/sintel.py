"""MPI Sintel, and any set in its layout (Butler et al., ECCV 2012)."""

from pathlib import Path

from mdflow.data.files import (
    FileDataset,
    PairFiles,
    if_there,
    list_folders,
    list_images,
    require_folder,
    successive,
)
from mdflow.errors import InputError

PASSES = ("clean", "final", "albedo")


class Sintel(FileDataset):
    """Consecutive frames of one pass, with flow, occlusions and invalid pixels where the split has them.

    ROOT/training/{clean,final,flow,occlusions,invalid}/SCENE/frame_0001.png; render "clean" or "final",
    split "training" or "test". visible1 is the complement of Sintel's occlusion map.
    """

    name = "sintel"
    expected = (
        "ROOT/training/clean/SCENE/frame_0001.png (or test/...) with training/flow/SCENE/frame_0001.flo beside it"
    )

    def __init__(self, root: Path | str, render: str = "clean", split: str = "training"):
        folder = Path(root) / split
        if render not in PASSES:
            raise InputError(f"Sintel has no pass '{render}'; expected one of {', '.join(PASSES)}.")
        require_folder(folder / render, self.expected)
        pairs = [
            sintel_pair(folder, render, scene.name, image1, image2)
            for scene in list_folders(folder / render)
            for image1, image2 in successive(list_images(scene))
        ]
        super().__init__(Path(root), pairs)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return any((root / "training" / render).is_dir() for render in ("clean", "final"))


def sintel_pair(folder: Path, render: str, scene: str, image1: Path, image2: Path) -> PairFiles:
    """The files of one pair in Sintel's layout."""
    return PairFiles(
        name=f"{scene}/{image1.stem}",
        image1=image1,
        image2=image2,
        flow12=if_there(folder / "flow" / scene / f"{image1.stem}.flo"),
        occluded1=if_there(folder / "occlusions" / scene / f"{image1.stem}.png"),
        invalid1=if_there(folder / "invalid" / scene / f"{image1.stem}.png"),
    )
