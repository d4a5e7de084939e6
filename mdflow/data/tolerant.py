"""A few unreadable samples must not end a long run; many must."""

import logging

import torch

from mdflow.data.order import runs_of
from mdflow.data.previous import before
from mdflow.data.sample import Dataset, Sample
from mdflow.errors import InputError

LISTED = 20

log = logging.getLogger(__name__)


class Tolerant:
    """A dataset that gives the next good sample in place of one that cannot be read.

    Each unreadable sample is logged once and counted in memory that loader workers share with the process
    that made them. Once more than `share` of the dataset (and more than one) is unreadable, every access
    raises InputError with the list.
    """

    def __init__(self, dataset: Dataset, share: float = 0.01):
        self.dataset = dataset
        self.name = dataset.name
        self.share = share
        self.flags = torch.zeros(len(dataset), dtype=torch.uint8).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        while True:
            self.check()
            if not self.flags[index]:
                try:
                    return self.dataset[index]
                except InputError as error:
                    self.flags[index] = 1
                    log.warning("skipped: %s", error)
            index = (index + 1) % len(self)

    def before(self, index: int) -> int | None:
        """The pair whose second frame is the first of this pair, unless one of them was found unreadable."""
        found = before(self.dataset, index)
        return None if found is None or self.flags[index] or self.flags[found] else found

    def runs(self) -> list[range]:
        """The stretches of indices that lie near one another in a file."""
        return runs_of(self.dataset)

    @property
    def skipped(self) -> int:
        """How many samples were found unreadable, by whichever process."""
        return int(self.flags.sum())

    def check(self) -> None:
        """Raise InputError when more is unreadable than may be."""
        if self.skipped > max(self.share * len(self), 1) or self.skipped == len(self):
            raise InputError(
                f"{self.skipped} of {len(self)} samples of {self.name} cannot be read, more than the allowed "
                f"share of {self.share:g}; repair or remove them: {'; '.join(self.reasons())}."
            )

    def reasons(self) -> list[str]:
        """What is wrong with the unreadable samples, the first LISTED of them."""
        indices = self.flags.nonzero().flatten().tolist()
        found = [self.reason(index) for index in indices[:LISTED]]
        return found + ([f"and {len(indices) - LISTED} more"] if len(indices) > LISTED else [])

    def reason(self, index: int) -> str:
        """Why a sample cannot be read."""
        try:
            self.dataset[index]
        except InputError as error:
            return str(error).rstrip(".")
        return f"sample {index} could not be read before"


def left_out_of(dataset: Dataset) -> list[str]:
    """A sentence for everything that a dataset, or one that it is made of, has left out or skipped so far."""
    found = [reason.rstrip(".") for reason in getattr(dataset, "left_out", {}).values()]
    if isinstance(dataset, Tolerant):
        found += [dataset.reason(index) for index in dataset.flags.nonzero().flatten().tolist()]
    inner = getattr(dataset, "datasets", [dataset.dataset] if hasattr(dataset, "dataset") else [])
    return found + [sentence for one in inner for sentence in left_out_of(one)]
