import zipfile

import cv2
import numpy as np
import pytest

from mdflow.data.io import read_flow
from mdflow.errors import InputError
from mdflow.inference import Predictor
from mdflow.networks import create
from mdflow.submission import write_submission


@pytest.fixture
def zero() -> Predictor:
    return Predictor(create("zero"))


def write_frames(*paths) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))


def test_sintel_gets_flo_files_of_both_passes(tmp_path, zero):
    root = tmp_path / "Sintel" / "test"
    for render in ("clean", "final"):
        write_frames(*(root / render / "market_1" / f"frame_000{i}.png" for i in (1, 2, 3)))
    archive = write_submission(zero, "sintel", tmp_path / "Sintel", tmp_path / "out")
    expected = [f"{render}/market_1/frame_000{i}.flo" for render in ("clean", "final") for i in (1, 2)]
    assert zipfile.ZipFile(archive).namelist() == expected
    assert read_flow(tmp_path / "out" / "sintel" / expected[0])[0].shape == (20, 30, 2)


@pytest.mark.parametrize(
    ("benchmark", "images", "expected"),
    [("kitti2015", "image_2", "flow/000000_10.png"), ("kitti2012", "colored_0", "000000_10.png")],
)
def test_kitti_gets_16_bit_png_files(tmp_path, zero, benchmark, images, expected):
    folder = tmp_path / "kitti" / "testing" / images
    write_frames(folder / "000000_10.png", folder / "000000_11.png")
    archive = write_submission(zero, benchmark, tmp_path / "kitti", tmp_path / "out")
    assert zipfile.ZipFile(archive).namelist() == [expected]
    flow, valid = read_flow(tmp_path / "out" / benchmark / expected)
    assert valid.all()
    assert not flow.any()


def test_a_flow_beyond_kittis_range_is_clipped_to_it(tmp_path, zero, monkeypatch):
    folder = tmp_path / "kitti" / "testing" / "image_2"
    write_frames(folder / "000000_10.png", folder / "000000_11.png")
    monkeypatch.setattr(Predictor, "__call__", lambda *_: np.full((20, 30, 2), 4000, np.float32))
    write_submission(zero, "kitti2015", tmp_path / "kitti", tmp_path / "out")
    assert (read_flow(tmp_path / "out" / "kitti2015" / "flow" / "000000_10.png")[0] == 511).all()


def test_a_root_without_test_split_is_refused(tmp_path, zero):
    with pytest.raises(InputError, match="testing"):
        write_submission(zero, "kitti2015", tmp_path, tmp_path / "out")
