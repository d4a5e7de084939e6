"""Several datasets as one."""

from collections.abc import Sequence
from dataclasses import replace

from mdflow.data.order import runs_of
from mdflow.data.previous import before
from mdflow.data.sample import Dataset, Sample
from mdflow.errors import InputError


class Mixture:
    """Datasets drawn from in proportion to their weights; without weights, each sample of each once.

    With weights, an epoch is as long as the dataset that is used most sparingly needs to be seen once; the
    others repeat. Samples keep their names, with the dataset's number and name before.
    """

    name = "mixture"

    def __init__(self, datasets: Sequence[Dataset], weights: Sequence[float] | None = None):
        if weights is not None and (len(weights) != len(datasets) or not all(w > 0 for w in weights)):
            raise InputError(
                f"A mixture of {len(datasets)} datasets needs as many positive weights, got {list(weights)}."
            )
        self.datasets = list(datasets)
        lengths = [len(dataset) for dataset in datasets]
        if weights is None:
            self.shares = lengths
        else:
            unit = max(length / weight for length, weight in zip(lengths, weights, strict=True))
            self.shares = [max(round(unit * weight), 1) for weight in weights]

    def __len__(self) -> int:
        return sum(self.shares)

    def __getitem__(self, index: int) -> Sample:
        place, own = self._locate(index)
        dataset = self.datasets[place]
        sample = dataset[own]
        return replace(sample, name=f"{place}_{dataset.name}/{sample.name}")

    def before(self, index: int) -> int | None:
        """The pair whose second frame is the first of this pair, of the same dataset."""
        place, own = self._locate(index)
        found = before(self.datasets[place], own)
        # The first round over a dataset holds each of its pairs, but for one that is drawn more rarely.
        return None if found is None or found >= self.shares[place] else sum(self.shares[:place]) + found

    def _locate(self, index: int) -> tuple[int, int]:
        """Which dataset, and which of its pairs."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        for place, (dataset, share) in enumerate(zip(self.datasets, self.shares, strict=True)):
            if index < share:
                return place, index % len(dataset)
            index -= share
        raise AssertionError("unreachable: the shares add up to the length")

    def runs(self) -> list[range]:
        """The stretches of indices that lie near one another in a file."""
        found, offset = [], 0
        for dataset, share in zip(self.datasets, self.shares, strict=True):
            for start in range(0, share, len(dataset)):
                # The last round over a dataset may be a part of it.
                for run in runs_of(dataset):
                    begin, end = start + run.start, min(start + run.stop, share)
                    if begin < end:
                        found.append(range(offset + begin, offset + end))
            offset += share
        return found
