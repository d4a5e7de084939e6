"""KITTI 2012 and 2015, their multi-view extensions, and the raw drives (Geiger 2012, Menze 2015)."""

import re
from pathlib import Path

from mdflow.data.files import (
    FileDataset,
    PairFiles,
    entries,
    if_there,
    list_folders,
    list_images,
    natural,
    require_cameras,
    require_folder,
    successive,
)
from mdflow.errors import InputError

LABELLED_FRAMES = range(9, 13)
"""Frames of a multi-view scene around its labelled pair (10, 11): unsupervised training leaves them out."""


class Kitti2015(FileDataset):
    """The labelled pairs; valid1 from flow_occ, visible1 from flow_noc, foreground1 from obj_map.

    ROOT/{training,testing}/image_2/000000_10.png and _11.png,
    training/{flow_occ,flow_noc,obj_map}/000000_10.png. visible1 is known where valid1 is.
    """

    name = "kitti2015"
    images = ("image_2",)
    expected = "ROOT/training/image_2/000000_10.png and 000000_11.png (or testing/...) with training/flow_occ beside"

    def __init__(self, root: Path | str, split: str = "training"):
        folder = image_folder(Path(root), split, self.images, self.expected)
        pairs = [
            kitti_pair(image1)
            for image1 in sorted((p for p in entries(folder) if p.name.endswith("_10.png")), key=natural)
        ]
        super().__init__(Path(root), pairs)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return has_frames(root, cls.images, "000*_10.png")


class Kitti2012(Kitti2015):
    """As KITTI-2015, in colored_0, or gray in image_0; there are no object maps."""

    name = "kitti2012"
    images = ("colored_0", "image_0")
    expected = "ROOT/training/colored_0/000000_10.png and 000000_11.png (or testing/...) with training/flow_occ beside"


class Kitti2015Multiview(FileDataset):
    """Frames 00 to 20 of each scene of the multi-view extension, unlabelled.

    ROOT/{training,testing}/image_2/000000_00.png to 000000_20.png. A pair with a frame in `leave_out` is left
    out: 9 to 12 by default, so that training never sees the pairs that evaluation uses.
    """

    name = "kitti2015_multiview"
    images = ("image_2",)
    expected = "ROOT/training/image_2/000000_00.png to 000000_20.png"

    def __init__(self, root: Path | str, split: str = "training", leave_out: range = LABELLED_FRAMES):
        folder = image_folder(Path(root), split, self.images, self.expected)
        images = (image for image in list_images(folder) if re.fullmatch(r"\d+_\d+", image.stem))
        frames = {image.stem: image for image in images}
        pairs = [
            PairFiles(stem, image, frames[following(stem)])
            for stem, image in frames.items()
            if following(stem) in frames and not {frame_of(stem), frame_of(stem) + 1} & set(leave_out)
        ]
        super().__init__(Path(root), pairs)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return has_frames(root, cls.images, "000*_05.png")


class Kitti2012Multiview(Kitti2015Multiview):
    """As the multi-view extension of 2015, in colored_0, or gray in image_0."""

    name = "kitti2012_multiview"
    images = ("colored_0", "image_0")
    expected = "ROOT/training/colored_0/000000_00.png to 000000_20.png"


class KittiRaw(FileDataset):
    """Consecutive frames of the raw drives, unlabelled: ROOT/DATE/DRIVE_sync/image_02/data/0000000000.png.

    cameras: 02 and 03 are colour, 00 and 01 gray.
    """

    name = "kitti_raw"
    expected = "ROOT/2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000000.png"

    def __init__(self, root: Path | str, cameras: tuple[str, ...] = ("02", "03")):
        cameras = [str(camera).zfill(2) for camera in cameras]  # YAML reads 02 as a number
        require_cameras(cameras, ("00", "01", "02", "03"), self.name)
        pairs = []
        for drive in raw_drives(require_folder(Path(root), self.expected)):
            for camera in cameras:
                images = list_images(drive / f"image_{camera}" / "data")
                name = f"{drive.name}/{camera}"
                pairs += [PairFiles(f"{name}/{image1.stem}", image1, image2) for image1, image2 in successive(images)]
        super().__init__(Path(root), pairs)

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the folder looks like this dataset."""
        return any(True for _ in raw_drives(root))


def raw_drives(root: Path) -> list[Path]:
    """The drives below ROOT/DATE."""
    return [
        drive
        for date in list_folders(root)
        for drive in list_folders(date)
        if drive.name.startswith(f"{date.name}_drive_") and any(drive.glob("image_0?"))
    ]


def image_folder(root: Path, split: str, names: tuple[str, ...], expected: str) -> Path:
    """The first of the folders ROOT/split/name that is there."""
    found = [root / split / name for name in names if (root / split / name).is_dir()]
    return found[0] if found else require_folder(root / split / names[0], expected)


def has_frames(root: Path, names: tuple[str, ...], pattern: str) -> bool:
    """Whether a split has images of that name."""
    folders = [root / split / name for split in ("training", "testing") for name in names]
    return any(any(folder.glob(pattern)) for folder in folders)


def kitti_pair(image1: Path) -> PairFiles:
    """The files of a labelled pair, from its first image."""
    image2 = image1.with_name(image1.name.replace("_10.png", "_11.png"))
    if not image2.exists():
        raise InputError(f"{image2} is missing: {image1} has no second frame; complete the data set.")
    split = image1.parent.parent
    return PairFiles(
        name=image1.stem,
        image1=image1,
        image2=image2,
        flow12=if_there(split / "flow_occ" / image1.name),
        matched12=if_there(split / "flow_noc" / image1.name),
        objects1=if_there(split / "obj_map" / image1.name),
    )


def frame_of(stem: str) -> int:
    """The frame number in 000000_10."""
    return int(stem.rsplit("_", 1)[1])


def following(stem: str) -> str:
    """The name of the frame after 000000_10."""
    return f"{stem.rsplit('_', 1)[0]}_{frame_of(stem) + 1:02d}"
