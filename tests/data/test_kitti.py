import pytest

from mdflow.data import open_dataset
from mdflow.errors import InputError


def test_both_colour_cameras_of_a_drive_are_read(tmp_path, put):
    for camera in ("00", "02", "03"):
        for number in (0, 1):
            put(f"2011_09_26/2011_09_26_drive_0001_sync/image_{camera}/data/{number:010d}.png")
    assert [pair.name.split("/")[1] for pair in open_dataset(tmp_path).pairs] == ["02", "03"]


@pytest.mark.parametrize("cameras", ["02", "2", "[02]", "[2]"])
def test_one_camera_of_a_drive_may_be_asked_for_as_yaml_reads_it(tmp_path, put, cameras):
    for camera in ("02", "03"):
        for number in (0, 1):
            put(f"2011_09_26/2011_09_26_drive_0001_sync/image_{camera}/data/{number:010d}.png")
    assert [pair.name.split("/")[1] for pair in open_dataset(f"{tmp_path}?cameras={cameras}").pairs] == ["02"]
    with pytest.raises(InputError, match="kitti_raw has no camera 04; expected some of 00, 01, 02, 03"):
        open_dataset(f"{tmp_path}?cameras=4")


def test_one_frame_may_be_left_out(tmp_path, put):
    for number in range(4):
        put(f"training/image_2/000000_{number:02d}.png")
    source = f"kitti2015_multiview={tmp_path}"
    assert [pair.name for pair in open_dataset(f"{source}?leave_out=3").pairs] == ["000000_00", "000000_01"]
    assert len(open_dataset(f"{source}?leave_out=[0, 3]").pairs) == 1
    for wrong in ("x", "[1, x]", "{a: 1}"):
        with pytest.raises(InputError, match=r"leave_out=.* is no whole number or several"):
            open_dataset(f"{source}?leave_out={wrong}")
