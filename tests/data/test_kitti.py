import numpy as np

from mdflow.data import open_dataset
from mdflow.data.io import write_image


def test_both_colour_cameras_of_a_drive_are_read(tmp_path):
    for camera in ("00", "02", "03"):
        folder = tmp_path / "2011_09_26" / "2011_09_26_drive_0001_sync" / f"image_{camera}" / "data"
        folder.mkdir(parents=True)
        for number in range(2):
            write_image(folder / f"{number:010d}.png", np.zeros((6, 8, 3), np.uint8))
    assert [pair.name.split("/")[1] for pair in open_dataset(tmp_path).pairs] == ["02", "03"]
