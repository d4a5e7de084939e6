"""HD1K (Kondermann et al., CVPR Workshops 2016)."""

from itertools import groupby
from pathlib import Path

from mdflow.data.files import FileDataset, PairFiles, if_there, list_images, require_folder, successive


class Hd1k(FileDataset):
    """Consecutive frames of each sequence, sparse flow in KITTI's format where there is any.

    ROOT/hd1k_input/image_2/000000_0010.png and ROOT/hd1k_flow_gt/flow_occ/000000_0010.png.
    """

    name = "hd1k"
    expected = "ROOT/hd1k_input/image_2/000000_0000.png and ROOT/hd1k_flow_gt/flow_occ/000000_0000.png"

    def __init__(self, root: Path | str):
        root = Path(root)
        images = list_images(require_folder(root / "hd1k_input" / "image_2", self.expected))
        pairs = [
            PairFiles(image1.stem, image1, image2, if_there(root / "hd1k_flow_gt" / "flow_occ" / image1.name))
            for _, sequence in groupby(images, lambda image: image.stem.split("_")[0])
            for image1, image2 in successive(list(sequence))
        ]
        super().__init__(root, pairs)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return (root / "hd1k_input" / "image_2").is_dir()
