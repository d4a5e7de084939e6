from pathlib import Path

import numpy as np
import pytest

from mdflow.commands.training import open_training_data
from mdflow.config import AugmentConfig, DataConfig, PretrainConfig
from mdflow.data.batches import Cached, Frames
from mdflow.data.frames import Frames as FrameFolders
from mdflow.data.io import write_image
from mdflow.data.mixture import Mixture
from mdflow.data.previous import WithPrevious, before, require_previous
from mdflow.data.synthetic import Synthetic
from mdflow.data.tolerant import Tolerant
from mdflow.errors import InputError


def numbered(folder: Path, count: int, first: int = 0) -> Path:
    """A folder of frames whose red says which they are."""
    folder.mkdir(parents=True)
    for number in range(count):
        image = np.zeros((16, 24, 3), np.uint8)
        image[..., 0] = first + number
        write_image(folder / f"{number:03d}.png", image)
    return folder


def which(image: np.ndarray | None) -> int | None:
    return None if image is None else int(image[0, 0, 0])


@pytest.mark.parametrize("step", [1, 2])
def test_the_frame_before_is_as_far_away_as_the_frame_after(tmp_path, step):
    numbered(tmp_path / "a", 6)
    numbered(tmp_path / "b", 6, first=100)
    dataset = FrameFolders(tmp_path, step=step)
    for sample in (WithPrevious(dataset)[index] for index in range(len(dataset))):
        first = which(sample.image1)
        assert which(sample.image2) == first + step
        assert which(sample.image0) == (first - step if first % 100 >= step else None)


def test_synthetic_sequences_have_frames_before():
    pairs = Synthetic(length=2, size=(32, 48), frames=3, texture_count=2)
    assert [before(pairs, index) for index in range(4)] == [None, 0, None, 2]
    assert np.array_equal(WithPrevious(pairs)[3].image0, pairs[2].image1)
    assert np.array_equal(pairs[2].image2, pairs[3].image1)


def test_a_mixture_looks_in_the_dataset_that_the_pair_is_of(tmp_path):
    alone = FrameFolders(numbered(tmp_path / "a", 3))  # 0-1, 1-2
    other = FrameFolders(numbered(tmp_path / "b", 3, first=100))
    mixed = WithPrevious(Cached(Mixture([alone, other], [1, 2])))  # the second twice
    found = [(which(mixed[index].image0), which(mixed[index].image1)) for index in range(len(mixed))]
    assert found == [(None, 0), (0, 1), (None, 100), (100, 101), (None, 100), (100, 101)]


def test_a_dataset_that_knows_no_order_has_none():
    class Unordered:
        name = "unordered"

        def __len__(self) -> int:
            return 1

    assert before(Unordered(), 0) is None


def test_the_loader_says_which_pairs_have_one(tmp_path):
    dataset = WithPrevious(FrameFolders(numbered(tmp_path / "a", 4)))
    data, augment = DataConfig(frame=(16, 24), resize=False), AugmentConfig(colour=0, crop=(16, 16))
    frames = Frames(dataset, data, augment, seed=0, labels=False, previous=True, coloured_from=0)
    for position in range(12):
        batch = frames[position, 1]
        red = {name: int(batch[name][0, 0, 0]) for name in ("image0", "image1", "image2")}
        if batch["known0"]:
            assert red == {"image0": 0, "image1": 1, "image2": 2}
        else:  # played backwards, where the frame "before" would be the one after
            assert red == {"image0": 2, "image1": 2, "image2": 1}
    assert {bool(frames[position, 1]["known0"]) for position in range(12)} == {True, False}


def test_data_of_single_pairs_is_refused_where_the_frame_before_is_needed():
    pairs = Synthetic(length=3, size=(32, 48), frames=2, texture_count=2)
    with pytest.raises(InputError, match="multi_frame needs; give videos"):
        require_previous(pairs, "multi_frame")
    require_previous(Synthetic(length=1, size=(32, 48), frames=3, texture_count=2), "multi_frame")


def test_training_data_know_it_too(tmp_path):
    """As the verbs open them: tolerant of what cannot be read."""
    config = PretrainConfig(data={"sources": [str(numbered(tmp_path / "a", 4))], "cache": True})
    dataset = open_training_data(config)
    require_previous(dataset, "multi_frame")
    assert [which(WithPrevious(dataset)[index].image0) for index in range(3)] == [None, 0, 1]


def test_what_stands_in_for_an_unreadable_pair_is_nobodys_frame_before(tmp_path):
    dataset = Tolerant(FrameFolders(numbered(tmp_path / "a", 5)), share=0.9)
    (tmp_path / "a" / "001.png").write_bytes(b"no picture")
    assert [which(WithPrevious(dataset)[index].image0) for index in range(2, 4)] == [None, 2]
