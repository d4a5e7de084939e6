"""A random order that video files can follow: far jumps seldom, near neighbours together."""

import random

from mdflow.data.sample import Dataset

RUNS_AT_ONCE = 8


def runs_of(dataset: Dataset) -> list[range]:
    """The dataset's runs; one index each where any order costs the same."""
    if hasattr(dataset, "runs"):
        return dataset.runs()
    return [range(index, index + 1) for index in range(len(dataset))]


def shuffled(dataset: Dataset, seed: int, at_once: int = RUNS_AT_ONCE) -> list[int]:
    """A permutation of the dataset's indices, reproducible by seed.

    Runs come in random order and are mixed `at_once` at a time, so that a reader that remembers a few hundred
    frames decodes each about once. Where every run is one index this is an ordinary shuffle.
    """
    generator = random.Random(seed)
    runs = runs_of(dataset)
    generator.shuffle(runs)
    order = []
    for start in range(0, len(runs), at_once):
        mixed = [index for run in runs[start : start + at_once] for index in run]
        generator.shuffle(mixed)
        order += mixed
    return order
