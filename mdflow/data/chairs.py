"""FlyingChairs (Dosovitskiy et al., ICCV 2015)."""

from pathlib import Path

from mdflow.data.files import FileDataset, PairFiles, entries, if_there, natural, require_folder
from mdflow.data.pixels import read_bytes
from mdflow.errors import InputError

SPLITS = {"training": "1", "validation": "2"}
SPLIT_FILES = ("FlyingChairs_train_val.txt", "chairs_split.txt")


class FlyingChairs(FileDataset):
    """ROOT/data/00001_img1.ppm, 00001_img2.ppm and 00001_flow.flo.

    The split file ROOT/FlyingChairs_train_val.txt has a line a pair: 1 (training) or 2 (validation). split:
    "training", "validation", or "all", which needs no split file.
    """

    name = "chairs"
    expected = "ROOT/data/00001_img1.ppm, 00001_img2.ppm, 00001_flow.flo and ROOT/FlyingChairs_train_val.txt"

    def __init__(self, root: Path | str, split: str = "all"):
        root = Path(root)
        if split not in (*SPLITS, "all"):
            raise InputError(f"FlyingChairs has no split '{split}'; expected training, validation or all.")
        images = [p for p in entries(chairs_folder(root)) if p.name.endswith("_img1.ppm")]
        kept = None if split == "all" else split_members(root, SPLITS[split])
        pairs = [
            PairFiles(
                number,
                image1,
                image1.with_name(f"{number}_img2.ppm"),
                if_there(image1.with_name(f"{number}_flow.flo")),
            )
            for image1 in sorted(images, key=natural)
            for number in [image1.name.split("_")[0]]
            if kept is None or (number.isdecimal() and int(number) in kept)
        ]
        super().__init__(root, pairs)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return any(any(folder.glob("*_img1.ppm")) for folder in (root / "data", root))


def chairs_folder(root: Path) -> Path:
    """Where the images lie: ROOT/data, or ROOT itself."""
    return root / "data" if (root / "data").is_dir() else require_folder(root, FlyingChairs.expected)


def split_members(root: Path, label: str) -> set[int]:
    """The numbers, from 1, of the lines with this label in the split file."""
    for name in SPLIT_FILES:
        if (root / name).exists():
            labels = read_bytes(root / name).decode("ascii", "replace").split()
            if set(labels) - set(SPLITS.values()):
                raise InputError(f"{root / name} is not a split file: expected one 1 or 2 a line.")
            return {number for number, given in enumerate(labels, 1) if given == label}
    raise InputError(f"{root} has no {SPLIT_FILES[0]}; put it there, or use split=all.")
