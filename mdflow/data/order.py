"""A random order that video files can follow: far jumps seldom, near neighbours together."""

from collections.abc import Iterator, Sequence

import numpy as np

from mdflow.data.sample import Dataset

RUNS_AT_ONCE = 8


def runs_of(dataset: Dataset) -> list[range]:
    """The dataset's runs; one index each where any order costs the same."""
    if hasattr(dataset, "runs"):
        return dataset.runs()
    return [range(index, index + 1) for index in range(len(dataset))]


def groups(dataset: Dataset, seed: int | Sequence[int], at_once: int = RUNS_AT_ONCE) -> Iterator[np.ndarray]:
    """A permutation of the dataset's indices, reproducible by seed, piece by piece.

    Runs come in random order and are mixed `at_once` at a time, so that a reader that remembers a few hundred
    frames decodes each about once. A dataset without runs gets an ordinary shuffle, in one piece.
    """
    rng = np.random.default_rng(seed)
    if not hasattr(dataset, "runs"):
        yield rng.permutation(len(dataset))
        return
    runs = runs_of(dataset)
    runs = [runs[place] for place in rng.permutation(len(runs))]
    for start in range(0, len(runs), at_once):
        yield rng.permutation(np.concatenate(runs[start : start + at_once]))
