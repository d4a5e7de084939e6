"""Spring (Mehl et al., CVPR 2023)."""

from pathlib import Path

from mdflow.data.files import (
    FileDataset,
    PairFiles,
    if_there,
    list_folders,
    list_images,
    require_cameras,
    require_folder,
    successive,
)


class Spring(FileDataset):
    """Consecutive frames of each camera, forward and backward flow, at the images' 1920×1080.

    ROOT/{train,test}/0001/frame_left/frame_left_0001.png, flow_FW_left/flow_FW_left_0001.flo5 and
    flow_BW_left/flow_BW_left_0002.flo5. The files hold a flow value for each half pixel, in pixels of the
    images: every second value is used and none is scaled, as the benchmark's own reader does.
    """

    name = "spring"
    expected = "ROOT/train/0001/frame_left/frame_left_0001.png and flow_FW_left/flow_FW_left_0001.flo5 beside"

    def __init__(self, root: Path | str, split: str = "train", cameras: tuple[str, ...] = ("left", "right")):
        folder = require_folder(Path(root) / split, self.expected)
        require_cameras(cameras, ("left", "right"), self.name)
        pairs = [
            spring_pair(scene, camera, image1, image2)
            for scene in list_folders(folder)
            for camera in cameras
            for images in [list_images(scene / f"frame_{camera}")]
            for image1, image2 in successive(images)
        ]
        super().__init__(Path(root), pairs)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return any(any((root / split).glob("*/frame_left")) for split in ("train", "test"))


def spring_pair(scene: Path, camera: str, image1: Path, image2: Path) -> PairFiles:
    """The files of one pair."""
    number1, number2 = image1.stem.rsplit("_", 1)[1], image2.stem.rsplit("_", 1)[1]
    forward, backward = f"flow_FW_{camera}", f"flow_BW_{camera}"
    return PairFiles(
        name=f"{scene.name}/{image1.stem}",
        image1=image1,
        image2=image2,
        flow12=if_there(scene / forward / f"{forward}_{number1}.flo5"),
        flow21=if_there(scene / backward / f"{backward}_{number2}.flo5"),
        flow_step=2,
    )
