"""Middlebury's flow set (Baker et al., IJCV 2011)."""

from pathlib import Path

from mdflow.data.files import FileDataset, PairFiles, if_there, list_folders, require_folder

FOLDERS = {"other": ("other-data", "other-gt-flow"), "eval": ("eval-data", "eval-gt-flow")}


class Middlebury(FileDataset):
    """One pair a scene.

    ROOT/other-data/SCENE/frame10.png and frame11.png, ROOT/other-gt-flow/SCENE/flow10.flo. split: "other"
    (public ground truth for 8 of 12 scenes) or "eval". Pixels without ground truth are not valid.
    """

    name = "middlebury"
    expected = "ROOT/other-data/SCENE/frame10.png and frame11.png, and ROOT/other-gt-flow/SCENE/flow10.flo"

    def __init__(self, root: Path | str, split: str = "other"):
        root = Path(root)
        images, flows = FOLDERS.get(split, (split, split))
        pairs = [
            PairFiles(
                scene.name,
                scene / "frame10.png",
                scene / "frame11.png",
                if_there(root / flows / scene.name / "flow10.flo"),
            )
            for scene in list_folders(require_folder(root / images, self.expected))
            if (scene / "frame10.png").exists() and (scene / "frame11.png").exists()
        ]
        super().__init__(root, pairs)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return any((root / images).is_dir() for images, _ in FOLDERS.values())
