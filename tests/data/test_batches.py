"""Batches are a function of (seed, step): a resumed run goes on where it stopped."""

import itertools
import multiprocessing
import signal
import subprocess
import sys
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mdflow.config import AugmentConfig, DataConfig, RunConfig
from mdflow.data.batches import Cached, Positions, batches, cut, label_planes, reverse, scaled, start_worker
from mdflow.data.sample import Sample
from mdflow.errors import InputError

HEIGHT, WIDTH = 24, 32


class Noise:
    """Pairs of random frames with a constant flow that tells their index."""

    name = "noise"

    def __init__(self, length: int = 5, labels: bool = True) -> None:
        self.length, self.labels, self.reads = length, labels, 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        self.reads += 1
        rng = np.random.default_rng(index)
        images = rng.integers(0, 256, (2, HEIGHT, WIDTH, 3), np.uint8)
        if not self.labels:
            return Sample(f"{index}", *images)
        flow = np.full((HEIGHT, WIDTH, 2), [index + 1, -1], np.float32)
        known = np.ones((HEIGHT, WIDTH), bool)
        known[:4] = False
        return Sample(f"{index}", *images, flow, known, known, -flow, known, ~known)


def stream(start: int = 0, count: int = 4, seed: int = 0, workers: int = 0, **options) -> list[dict]:
    settings = {"frame": (16, 24), "resize": False, "workers": workers}
    data = DataConfig(**(settings | options.pop("data", {})))
    dataset = options.pop("dataset", None) or Noise()
    augment = AugmentConfig(colour=options.pop("colour", 0.0), crop=options.pop("crop", (16, 16)))
    config = RunConfig(data=data, augment=augment, batch_size=2, seed=seed)
    return list(itertools.islice(batches(dataset, config, start, options.pop("labels", True), **options), count))


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_batch_has_what_training_needs():
    batch = stream(count=1)[0]
    shapes = {key: (tuple(value.shape), value.dtype) for key, value in batch.items()}
    image = ((2, 3, 16, 24), torch.uint8)
    assert shapes == {
        "image1": image,
        "image2": image,
        "coloured1": image,
        "coloured2": image,
        "flow12": ((2, 2, 16, 24), torch.float32),
        "valid1": ((2, 1, 16, 24), torch.bool),
    }


@pytest.mark.parametrize(("workers", "colour"), [(0, 0.0), (0, 1.0), (1, 1.0)])
def test_a_stream_from_a_step_on_is_the_stream_from_the_beginning(workers, colour):
    whole = stream(count=6, colour=colour)
    later = stream(start=3, count=3, workers=workers, colour=colour)
    assert all(same(one, other) for one, other in zip(whole[3:], later, strict=True))


def test_another_seed_gives_other_batches():
    assert not same(stream(count=1)[0], stream(count=1, seed=1)[0])


def test_every_epoch_shows_every_pair_once_in_another_order():
    positions = Positions(Noise(6), 4, seed=0, start=0)
    found = [index for batch in itertools.islice(positions, 6) for _, index in batch]
    epochs = [found[start : start + 6] for start in range(0, 24, 6)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_coloured_twins_show_the_same_crop():
    batch = stream(count=1)[0]
    assert torch.equal(batch["image1"], batch["coloured1"])
    batch = stream(count=1, colour=1.0)[0]
    plain, coloured = batch["image1"].float().flatten(), batch["coloured1"].float().flatten()
    assert not torch.equal(plain, coloured)
    assert torch.corrcoef(torch.stack([plain, coloured]))[0, 1] > 0.2


def test_coloured_twins_from_a_step_on_and_the_rest_is_the_same():
    late = stream(count=4, colour=1.0, coloured_from=2)
    assert ["coloured1" in batch for batch in late] == [False, False, True, True]
    for one, other in zip(late, stream(count=4, colour=1.0), strict=True):
        assert same(one, {name: other[name] for name in one})


def test_half_of_the_pairs_are_played_backwards():
    signs = [float(flow.sign()) for batch in stream(count=30) for flow in batch["flow12"][:, 0, 8, 8]]
    assert 0.3 < np.mean(np.array(signs) > 0) < 0.7


def test_pairs_without_labels_serve_unlabelled_training_only():
    batch = stream(count=1, dataset=Noise(labels=False), labels=False)[0]
    assert set(batch) == {"image1", "image2", "coloured1", "coloured2"}
    with pytest.raises(InputError, match=r"^The pair \d has no flow to learn from"):
        stream(count=1, dataset=Noise(labels=False))


def test_a_worker_ends_if_its_training_was_killed_while_it_started(monkeypatch):
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(is_alive=lambda: False))
    try:
        with pytest.raises(SystemExit):
            start_worker(0)
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_a_workers_complaint_comes_as_its_sentence():
    with pytest.raises(InputError, match=r"^The pair \d has no flow to learn from") as error:
        stream(count=1, dataset=Noise(labels=False), workers=1)
    assert "Traceback" not in str(error.value)


def test_a_reversed_pair_is_the_pair_seen_from_the_other_end():
    pair = Noise()[2]
    back = reverse(pair)
    assert np.array_equal(back.image1, pair.image2)
    assert np.array_equal(back.flow12, pair.flow21)
    assert np.array_equal(back.visible1, pair.visible2)
    again = reverse(back)
    for field in fields(pair):
        assert np.array_equal(getattr(again, field.name), getattr(pair, field.name))


def test_a_cut_is_one_window_of_everything():
    pair = Noise()[0]
    place = np.dstack([*np.mgrid[:HEIGHT, :WIDTH], np.zeros((HEIGHT, WIDTH))]).astype(np.uint8)
    pair = Sample("place", place, place, pair.flow12, place[..., 0] > 3)
    corners = set()
    for seed in range(20):
        part = cut(pair, (16, 24), False, np.random.default_rng(seed))
        top, left = part.image1[0, 0, :2]
        corners.add((top, left))
        assert np.array_equal(part.image1, place[top : top + 16, left : left + 24])
        assert np.array_equal(part.image2, part.image1)
        assert np.array_equal(part.valid1, part.image1[..., 0] > 3)
        assert np.array_equal(part.flow12, pair.flow12[:16, :24])
    assert len(corners) > 5


@pytest.mark.parametrize(
    ("size", "resize", "factor"),
    [((12, 12), True, 0.5), ((12, 12), False, 1), ((48, 40), False, 2), ((24, 32), True, 1)],
)
def test_frames_are_scaled_to_cover_what_is_cut(size, resize, factor):
    pair = Noise()[2]
    part = cut(pair, size, resize, np.random.default_rng(0))
    assert part.image1.shape == (*size, 3)
    assert np.allclose(part.flow12, np.array([3, -1]) * factor)


def test_scaling_changes_each_component_with_its_side():
    pair = scaled(Noise()[2], HEIGHT // 2, WIDTH * 2)
    assert np.allclose(pair.flow12, [3 * 2, -1 / 2])
    assert np.allclose(pair.flow21, [-3 * 2, 1 / 2])
    assert pair.valid1.dtype == bool
    assert not pair.valid1[:2].any()
    assert pair.valid1[2:].all()


def test_unknown_flow_is_zero_and_not_valid():
    flow = np.full((4, 5, 2), 7, np.float32)
    flow[1, 2, 0] = np.nan
    flow[3, 3] = np.inf
    valid = np.ones((4, 5), bool)
    valid[0, 0] = False
    image = np.zeros((4, 5, 3), np.uint8)
    labels = label_planes(Sample("x", image, image, flow, valid))
    unknown = [(0, 0), (1, 2), (3, 3)]
    assert (~labels["valid1"][0]).nonzero().tolist() == [list(place) for place in unknown]
    assert all((labels["flow12"][:, y, x] == 0).all() for y, x in unknown)
    assert labels["flow12"].isfinite().all()


def test_a_cache_reads_once_and_gives_the_same():
    dataset = Noise()
    cached = Cached(dataset)
    assert (len(cached), cached.name) == (5, "noise")
    first, again, expected = cached[3], cached[3], Noise()[3]
    assert dataset.reads == 1
    for sample in (first, again):
        assert sample.flow12.dtype == np.float32
        for field in fields(expected):
            assert np.array_equal(getattr(sample, field.name), getattr(expected, field.name))


def test_a_cache_keeps_flows_to_a_thirtieth_of_a_pixel():
    class Fast(Noise):
        def __getitem__(self, index):
            pair = super().__getitem__(index)
            return Sample(pair.name, pair.image1, pair.image2, np.full((2, 2, 2), 63.987, np.float32))

    assert np.abs(Cached(Fast())[0].flow12 - 63.987).max() < 0.033
    assert Cached(Fast())[0].flow21 is None


HELD = """
import sys
from mdflow.config import PretrainConfig
from mdflow.data.batches import batches
from mdflow.data.synthetic import Synthetic

data, augment = {"workers": 1, "frame": (64, 64), "resize": False}, {"crop": (64, 64)}
config = PretrainConfig(batch_size=1, data=data, augment=augment)
sys.held = batches(Synthetic(2, (64, 64), texture_count=2), config, 0, labels=False)
print(next(sys.held)["image1"].shape[0])
"""


def test_a_process_that_never_closed_its_loader_ends_all_the_same():
    """Its workers ignore SIGTERM, so that Python's own way to end them would wait for ever."""
    done = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_a_crop_larger_than_the_frames_asked_for_is_not_cut_down():
    batch = stream(count=1, crop=(20, 16))[0]
    assert batch["image1"].shape[-2:] == (20, 24)


@pytest.mark.parametrize("width", [12, 36, 100])
def test_labels_stay_where_the_picture_is_when_it_shrinks(width):
    """The nearest pixel to each centre: a ramp, read as labels, is not shifted."""
    ramp = np.arange(36 * 20, dtype=np.float32).reshape(20, 36) % 36
    flow = np.stack([ramp, ramp], axis=-1)
    image = np.zeros((20, 36, 3), np.uint8)
    small = scaled(Sample("x", image, image, flow), 20, width).flow12[..., 1]
    centres = (np.arange(width) + 0.5) * 36 / width - 0.5
    assert abs((small - centres).mean()) < 0.02
