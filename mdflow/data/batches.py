"""From a dataset to an endless stream of batches that is a function of (seed, step) alone."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import count, islice
from multiprocessing.util import Finalize

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from mdflow.config import AugmentConfig, DataConfig, RunConfig
from mdflow.data.order import groups, runs_of
from mdflow.data.previous import WithPrevious, before
from mdflow.data.sample import Dataset, Sample
from mdflow.errors import InputError
from mdflow.system import ranks
from mdflow.system.stopping import ignore_stop_signal, kill_helpers

Batch = dict[str, Tensor]


class Positions(Sampler[list[tuple[int, int]]]):
    """Batches of (position in the stream, index into the dataset), from step `start` on, for ever.

    Each epoch is a permutation drawn from (seed, epoch), so a resumed run goes on exactly where it stopped. Of
    several ranks each gets its share of every batch.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int, start: int) -> None:
        self.dataset, self.batch_size, self.seed, self.start = dataset, batch_size, seed, start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        own = ranks.share(self.batch_size)
        places = self.places()
        while True:
            batch = list(islice(places, self.batch_size))
            yield batch[own.start : own.stop]

    def places(self) -> Iterator[tuple[int, int]]:
        """(position, index) one by one; of an epoch's order only a piece is in memory."""
        first_epoch, skipped = divmod(self.start * self.batch_size, len(self.dataset))
        for epoch in count(first_epoch):
            position = epoch * len(self.dataset)
            for group in groups(self.dataset, [self.seed, epoch]):
                begin = min(skipped, len(group))
                skipped -= begin
                yield from zip(range(position + begin, position + len(group)), group[begin:].tolist(), strict=True)
                position += len(group)


class Frames:
    """A dataset's pairs as uint8 tensors of one size, and what is asked for.

    labels: flow12 and its mask; previous: the frame before, and whether there is one; coloured_from: the first position
    in the stream with a photometric twin.
    """

    def __init__(
        self,
        dataset: Dataset,
        data: DataConfig,
        augment: AugmentConfig,
        seed: int,
        labels: bool,
        previous: bool,
        coloured_from: int,
    ) -> None:
        self.dataset, self.data, self.augment, self.seed = dataset, data, augment, seed
        self.labels, self.previous, self.coloured_from = labels, previous, coloured_from
        self.size = (max(data.frame[0], augment.crop[0]), max(data.frame[1], augment.crop[1]))
        self.colour = None

    def __getitem__(self, place: tuple[int, int]) -> Batch:
        position, index = place
        rng = np.random.default_rng([self.seed, position, 7])
        pair = self.dataset[index]
        if rng.random() < 0.5 and (not self.labels or pair.flow21 is not None):
            pair = reverse(pair)
        pair = cut(pair, self.size, self.data.resize, rng)
        batch = {"image1": planes(pair.image1), "image2": planes(pair.image2)}
        if position >= self.coloured_from:
            coloured = self.coloured(pair, int(rng.integers(2**31)))
            batch |= {"coloured1": planes(coloured[0]), "coloured2": planes(coloured[1])}
        if self.labels:
            batch |= label_planes(pair)
        if self.previous:
            known = pair.image0 is not None
            batch |= {"image0": planes(pair.image0 if known else pair.image1), "known0": torch.tensor(known)}
        return batch

    def coloured(self, pair: Sample, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The photometrically augmented pair."""
        if not self.augment.colour:
            return pair.image1, pair.image2
        if self.colour is None:  # made in the worker: it does not travel between processes
            from mdflow.data.colour import Colour

            self.colour = Colour(self.augment.colour, self.augment.asymmetric)
        return self.colour(pair.image1, pair.image2, seed)


class Cached:
    """A dataset whose samples are kept in memory once read, flows in half precision (0.03 px at 64 px).

    Filled as it is used, so training starts at once. Each loader worker has its own.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.name, self.dataset = dataset.name, dataset
        self.samples: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if index not in self.samples:
            self.samples[index] = with_flows(self.dataset[index], np.float16)
        return with_flows(self.samples[index], np.float32)

    def runs(self) -> list[range]:
        """The stretches of indices that lie near one another in a file."""
        return runs_of(self.dataset)

    def before(self, index: int) -> int | None:
        """The pair whose second frame is the first of this pair."""
        return before(self.dataset, index)


def with_flows(pair: Sample, kind: type) -> Sample:
    """The sample with its flows as another type of float."""
    flows = {name: getattr(pair, name) for name in ("flow12", "flow21")}
    return replace(pair, **{name: flow.astype(kind) for name, flow in flows.items() if flow is not None})


def reverse(pair: Sample) -> Sample:
    """The pair played backwards; what is known of one frame only is left out."""
    return Sample(
        name=pair.name,
        image1=pair.image2,
        image2=pair.image1,
        flow12=pair.flow21,
        valid1=pair.valid2,
        visible1=pair.visible2,
        flow21=pair.flow12,
        valid2=pair.valid1,
        visible2=pair.visible1,
    )


def cut(pair: Sample, size: tuple[int, int], resize: bool, rng: np.random.Generator) -> Sample:
    """A random part of `size` (height, width), after shrinking to just cover it if `resize`; smaller frames grow."""
    height, width = pair.image1.shape[:2]
    scale = max(size[0] / height, size[1] / width)
    if scale > 1 or (resize and scale < 1):
        pair = scaled(pair, max(size[0], round(height * scale)), max(size[1], round(width * scale)))
        height, width = pair.image1.shape[:2]
    top = int(rng.integers(height - size[0] + 1))
    left = int(rng.integers(width - size[1] + 1))
    arrays = {f.name: getattr(pair, f.name) for f in fields(pair)}
    parts = {
        name: array[top : top + size[0], left : left + size[1]]
        for name, array in arrays.items()
        if isinstance(array, np.ndarray)
    }
    return replace(pair, **parts)


def scaled(pair: Sample, height: int, width: int) -> Sample:
    """The pair at another size, flows scaled with it; masks by the nearest pixel."""
    old_height, old_width = pair.image1.shape[:2]
    factor = np.array([width / old_width, height / old_height], np.float32)
    images = cv2.INTER_AREA if height < old_height else cv2.INTER_LINEAR
    changed = {}
    for field in fields(pair):
        array = getattr(pair, field.name)
        if not isinstance(array, np.ndarray):
            continue
        if array.dtype == np.uint8:
            changed[field.name] = cv2.resize(array, (width, height), interpolation=images)
        elif array.dtype == bool:
            changed[field.name] = nearest(array.astype(np.uint8), (width, height)).astype(bool)
        else:  # nearest too, because an unknown pixel must not bleed into its neighbours
            changed[field.name] = nearest(array, (width, height)) * factor
    return replace(pair, **changed)


def nearest(array: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The array at `size` (width, height), of each place the pixel nearest to its centre.

    cv2.INTER_NEAREST takes the pixel at its corner, which moves labels against the image by up to half a pixel.
    """
    return cv2.resize(array, size, interpolation=cv2.INTER_NEAREST_EXACT)


def planes(image: np.ndarray) -> Tensor:
    """(H,W,C) to (C,H,W)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def label_planes(pair: Sample) -> Batch:
    """Flow 12 and its mask as tensors, unknown flow as zero; InputError if the pair has no labels."""
    if pair.flow12 is None:
        raise InputError(f"The pair {pair.name} has no flow to learn from; use mdflow pretrain for unlabelled frames.")
    known = pair.known1
    flow = np.where(known[..., None], pair.flow12, 0).astype(np.float32)
    return {"flow12": planes(flow), "valid1": planes(known[..., None])}


def batches(
    dataset: Dataset,
    config: RunConfig,
    start: int,
    labels: bool,
    shift: int = 0,
    previous: bool = False,
    coloured_from: int = 0,
) -> Iterator[Batch]:
    """The endless stream of batches from step `start` on; images (B,3,h,w) uint8, flow12 float32, valid1 bool.

    shift: added to the seed, it gives each of a run's stages batches of its own. previous: with image0, the frame
    before image1, and known0 (B,) bool, whether there is one (half of the pairs are played backwards and have none).
    coloured_from: the first step with coloured1 and coloured2, which take most of a worker's time.
    """
    seed, workers = config.seed + shift, config.data.workers
    source, first = WithPrevious(dataset) if previous else dataset, coloured_from * config.batch_size
    frames = Frames(source, config.data, config.augment, seed, labels, previous, first)
    sampler = Positions(dataset, config.batch_size, seed, start)
    if workers:
        # A loader that is still referred to, as by the traceback of an error, does not end its workers itself.
        Finalize(None, kill_helpers, exitpriority=1)
    loader = DataLoader(
        frames,
        batch_sampler=sampler,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=start_worker,
        # A forked worker inherits the locks of OpenCV's threads, and waits for them for ever.
        multiprocessing_context="spawn" if workers else None,
        pin_memory=torch.cuda.is_available(),
    )
    return readable(loader)


def readable(loader: DataLoader) -> Iterator[Batch]:
    """The loader's batches; an InputError of a worker comes as its one sentence, without the worker's traceback."""
    try:
        yield from loader
    except InputError as error:
        raise InputError(str(error).strip().rpartition("InputError: ")[2]) from None


def start_worker(_: int) -> None:
    """A worker must not fight the training for cores, nor end before it or outlive it."""
    ignore_stop_signal()
    # torch's workers notice later when the training is killed, but not when it was while they started.
    if not multiprocessing.parent_process().is_alive():
        raise SystemExit
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
