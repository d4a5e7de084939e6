"""Several datasets as one, the order in which they are read, and a few bad samples among many."""

import pickle

import numpy as np
import pytest
from conftest import counted, encode
from torch.utils.data import DataLoader

from mdflow.data import Mixture, open_dataset, open_datasets
from mdflow.data.order import groups
from mdflow.data.sample import Sample
from mdflow.data.tolerant import Tolerant
from mdflow.errors import InputError


class Numbers:
    """Samples that know their index; those in `bad` cannot be read."""

    def __init__(self, length, name="numbers", bad=()):
        self.length, self.name, self.bad = length, name, bad

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index in self.bad:
            raise InputError(f"{index}.png cannot be read.")
        return Sample(str(index), np.zeros((1, 1, 3), np.uint8), np.zeros((1, 1, 3), np.uint8))


class Runs(Numbers):
    """Numbers in runs of ten."""

    def runs(self):
        return [range(start, min(start + 10, self.length)) for start in range(0, self.length, 10)]


def test_without_weights_each_sample_comes_once():
    mixture = Mixture([Numbers(3, "a"), Numbers(2, "b")])
    assert [sample.name for sample in mixture] == ["0_a/0", "0_a/1", "0_a/2", "1_b/0", "1_b/1"]


def test_weights_are_shares_and_every_sample_is_seen():
    names = [sample.name for sample in Mixture([Numbers(100, "a"), Numbers(7, "b")], [0.8, 0.2])]
    assert len(names) == 125 and len(set(names)) == 107


def test_bad_weights_are_said():
    with pytest.raises(InputError, match="2 datasets needs as many positive weights"):
        Mixture([Numbers(1), Numbers(1)], [1, 0])


def order_of(dataset, *options):
    """The indices of all groups."""
    return np.concatenate(list(groups(dataset, *options)))


def test_the_order_is_a_permutation_that_keeps_runs_together():
    dataset = Mixture([Runs(95, "a"), Numbers(5, "b")], [0.5, 0.5])
    order = order_of(dataset, [3, 1], 2)
    assert sorted(order) == list(range(len(dataset)))
    assert np.array_equal(order, order_of(dataset, [3, 1], 2))
    assert not np.array_equal(order, order_of(dataset, [3, 2], 2))
    assert len(set(order[order < 95][:20] // 10)) <= 3


def test_without_runs_the_order_is_a_full_shuffle():
    order = order_of(Numbers(1000), 0)
    assert sorted(order) == list(range(1000)) and np.abs(np.diff(order)).mean() > 200


def test_sources_are_mixed_with_weights(tmp_path):
    clips = tmp_path / "clips"
    clips.mkdir()
    for name, length in (("a.mp4", 5), ("b.mp4", 3)):
        encode(clips / name, [counted(number) for number in range(length)])
    mixture = open_datasets([f"{clips}/a.mp4:0.25", f"{clips}/b.mp4:0.75"])
    assert len(mixture) == 16
    assert sum(sample.name.startswith("0_") for sample in mixture) == 4
    assert sorted(order_of(mixture, 0)) == list(range(16))
    assert type(open_datasets([str(clips)])) is type(open_dataset(clips))
    assert len(open_datasets([str(clips), "synthetic"], length=7)) == 6 + 7


def test_a_bad_sample_is_replaced_counted_and_logged_once(caplog):
    dataset = Tolerant(Numbers(10, bad=(4, 5)), share=0.2)
    assert [dataset[4].name for _ in range(3)] == ["6"] * 3 and dataset[3].name == "3"
    assert dataset.skipped == 2
    assert [record.getMessage() for record in caplog.records] == [f"skipped: {n}.png cannot be read." for n in (4, 5)]


def test_too_many_bad_samples_stop_with_the_list():
    dataset = Tolerant(Numbers(100, bad=range(10, 20)), share=0.03)
    with pytest.raises(InputError, match=r"4 of 100 .*share of 0\.03.*10\.png cannot.*13\.png"):
        dataset[10]


@pytest.mark.parametrize("length", [1, 2])
def test_nothing_readable_ends(length):
    with pytest.raises(InputError, match="cannot be read"):
        Tolerant(Numbers(length, bad=(0, 1)), share=1)[0]


def test_workers_count_together():
    dataset = Tolerant(Numbers(40, bad=(3, 17, 33)), share=0.2)
    names = list(DataLoader(dataset, batch_size=None, num_workers=2, collate_fn=lambda sample: sample.name))
    assert len(names) == 40 and dataset.skipped == 3
    assert pickle.loads(pickle.dumps(dataset)).skipped == 3


def test_a_synthetic_source_with_options_of_its_own_keeps_the_others():
    mixture = open_datasets(["synthetic", "synthetic?length=3&hard=1"], length=7, seed=5)
    assert len(mixture) == 7 + 3
    assert [(part.seed, part.hard) for part in mixture.datasets] == [(5, 0.0), (5, 1)]
