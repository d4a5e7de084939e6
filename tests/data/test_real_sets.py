"""Data sets as their authors publish them, a few pairs of each, are found by looking, with all their labels."""

from pathlib import Path

import numpy as np
import pytest

from mdflow.data import open_dataset

SHARED = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared material is not here")

SHARED_SETS = {
    "Middlebury": ("middlebury", 8, 4),
    "KITTI-2015": ("kitti2015", 7, 7),
    "FlyingChairs": ("chairs", 5, 5),
    "Sintel": ("sintel", 1, 1),
    "Rendered": ("sintel", 32, 32),
    "frames": ("frames", 18, 0),
}


@pytest.mark.parametrize("folder", SHARED_SETS)
def test_real_sets_are_read(folder):
    name, length, labelled = SHARED_SETS[folder]
    dataset = open_dataset(SHARED / folder)
    assert (dataset.name, len(dataset)) == (name, length)
    with_flow = [index for index, files in enumerate(dataset.pairs) if files.flow12]
    assert len(with_flow) == labelled
    for sample in [dataset[index] for index in with_flow[:3]]:
        assert 0.05 < sample.valid1.mean() <= 1 and np.abs(sample.flow12[sample.valid1]).mean() > 0.1


def test_kitti_s_unoccluded_pixels_are_some_of_the_known_ones():
    sample = next(s for s in open_dataset(SHARED / "KITTI-2015") if s.name == "000010_10")
    assert not (sample.visible1 & ~sample.valid1).any()
    assert 0.5 < sample.visible1.sum() / sample.valid1.sum() < 1
