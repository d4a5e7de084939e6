from mdflow.data import open_dataset


def test_both_colour_cameras_of_a_drive_are_read(tmp_path, put):
    for camera in ("00", "02", "03"):
        for number in (0, 1):
            put(f"2011_09_26/2011_09_26_drive_0001_sync/image_{camera}/data/{number:010d}.png")
    assert [pair.name.split("/")[1] for pair in open_dataset(tmp_path).pairs] == ["02", "03"]
