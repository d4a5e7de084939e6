"""FlyingThings3D, Monkaa and Driving (Mayer et al., CVPR 2016), and FlowNet2's subset of the first."""

from pathlib import Path

from mdflow.data.files import (
    FileDataset,
    PairFiles,
    if_there,
    list_images,
    natural,
    require_cameras,
    require_folder,
    successive,
)
from mdflow.errors import InputError

CAMERAS = {"left": "L", "right": "R"}


class SceneFlow(FileDataset):
    """The full sets: FlyingThings3D, Monkaa or Driving, both directions.

    ROOT/frames_cleanpass/SCENE/left/0006.png and
    ROOT/optical_flow/SCENE/into_future/left/OpticalFlowIntoFuture_0006_L.pfm, SCENE any number of folders
    deep (FlyingThings3D: TRAIN/A/0000). render "cleanpass" or "finalpass"; scenes: only those whose path
    begins so.
    """

    name = "sceneflow"
    expected = (
        "ROOT/frames_cleanpass/TRAIN/A/0000/left/0006.png and "
        "ROOT/optical_flow/TRAIN/A/0000/into_future/left/OpticalFlowIntoFuture_0006_L.pfm"
    )

    def __init__(
        self,
        root: Path | str,
        render: str = "cleanpass",
        scenes: str = "",
        cameras: tuple[str, ...] = ("left", "right"),
    ):
        root = Path(root)
        frames = require_folder(root / f"frames_{render}", self.expected)
        require_cameras(cameras, CAMERAS, self.name)
        folders = sorted(path for camera in cameras for path in frames.rglob(camera) if path.is_dir())
        pairs = [
            sceneflow_pair(root / "optical_flow", folder.relative_to(frames), image1, image2)
            for folder in folders
            if folder.relative_to(frames).as_posix().startswith(scenes)
            for images in [list_images(folder)]
            for image1, image2 in successive(images)
        ]
        super().__init__(root, pairs)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return (root / "frames_cleanpass").is_dir() or (root / "frames_finalpass").is_dir()


def sceneflow_pair(flows: Path, place: Path, image1: Path, image2: Path) -> PairFiles:
    """The files of one pair; place is SCENE/camera."""
    letter = CAMERAS[place.name]
    forward, backward = (flows / place.parent / way / place.name for way in ("into_future", "into_past"))
    return PairFiles(
        name=f"{place.as_posix()}/{image1.stem}",
        image1=image1,
        image2=image2,
        flow12=if_there(forward / f"OpticalFlowIntoFuture_{image1.stem}_{letter}.pfm"),
        flow21=if_there(backward / f"OpticalFlowIntoPast_{image2.stem}_{letter}.pfm"),
    )


class ThingsSubset(FileDataset):
    """FlowNet2's subset of FlyingThings3D, both directions, with occlusions.

    ROOT/{train,val}/image_clean/left/0000000.png, flow/left/into_future/0000000.flo and
    flow_occlusions/left/into_future/0000000.png. Scenes follow one another in one numbering: a frame
    and the next are a pair where a flow says so.
    """

    name = "things_subset"
    expected = "ROOT/train/image_clean/left/0000000.png and ROOT/train/flow/left/into_future/0000000.flo"

    def __init__(
        self,
        root: Path | str,
        split: str = "train",
        render: str = "clean",
        cameras: tuple[str, ...] = ("left", "right"),
    ):
        folder = Path(root) / split
        require_folder(folder / "flow", self.expected)
        require_cameras(cameras, CAMERAS, self.name)
        pairs = [
            subset_pair(folder, f"image_{render}", camera, flow)
            for camera in cameras
            for flow in sorted((folder / "flow" / camera / "into_future").glob("*.flo"), key=natural)
        ]
        super().__init__(Path(root), pairs)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return any((root / split / "image_clean").is_dir() for split in ("train", "val"))


def subset_pair(folder: Path, images: str, camera: str, flow: Path) -> PairFiles:
    """The files of the pair that a forward flow belongs to."""
    following = f"{int(flow.stem) + 1:07d}"
    image1, image2 = (folder / images / camera / f"{stem}.png" for stem in (flow.stem, following))
    for image in (image1, image2):
        if not image.exists():
            raise InputError(f"{image} is missing: {flow} is the flow of that pair; complete the data set.")
    backward = folder / "flow" / camera / "into_past" / f"{following}.flo"
    occluded = folder / "flow_occlusions" / camera
    return PairFiles(
        name=f"{camera}/{flow.stem}",
        image1=image1,
        image2=image2,
        flow12=flow,
        flow21=if_there(backward),
        occluded1=if_there(occluded / "into_future" / f"{flow.stem}.png"),
        occluded2=if_there(occluded / "into_past" / f"{following}.png"),
    )
