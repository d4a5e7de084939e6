"""Pairs together with the frame before them, where a dataset has one."""

from dataclasses import replace

from mdflow.data.sample import Dataset, Sample
from mdflow.errors import InputError


def before(dataset: Dataset, index: int) -> int | None:
    """The pair whose second frame is the first of this pair; None where there is none, or none is known."""
    return dataset.before(index) if hasattr(dataset, "before") else None


def has_previous(dataset: Dataset) -> bool:
    """Whether some pair has a frame before."""
    return any(before(dataset, index) is not None for index in range(len(dataset)))


def require_previous(dataset: Dataset, setting: str) -> None:
    """InputError, naming the setting that asks for it, unless some pair has a frame before."""
    if not has_previous(dataset):
        raise InputError(
            f"No pair of the data has a frame before it, which {setting} needs; give videos or folders of three frames "
            "or more, or leave the setting out."
        )


class WithPrevious:
    """A dataset whose samples have `image0`, where the frame before is a part of it too."""

    def __init__(self, dataset: Dataset) -> None:
        self.name, self.dataset = dataset.name, dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        sample, place = self.dataset[index], before(self.dataset, index)
        if place is None:
            return sample
        image0 = self.dataset[place].image1
        # Of a pair that turns out to be unreadable another one has been read (Tolerant).
        return replace(sample, image0=image0) if before(self.dataset, index) == place else sample
