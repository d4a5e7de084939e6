"""What of a dataset can be learned from with labels."""

from copy import copy

from mdflow.data.files import FileDataset
from mdflow.data.sample import Dataset
from mdflow.data.videos import Videos
from mdflow.errors import InputError


def labelled_only(dataset: Dataset, source: str) -> Dataset:
    """The dataset without its pairs that have no flow, whose number is printed; InputError if none is left.

    Which have one is known without reading them.
    """
    if not isinstance(dataset, FileDataset | Videos):
        return dataset
    pairs = [] if isinstance(dataset, Videos) else [pair for pair in dataset.pairs if pair.flow12 is not None]
    if not pairs:
        raise InputError(
            f"None of the {len(dataset)} pairs of '{source}' has a flow to learn from; "
            "use mdflow pretrain for unlabelled frames."
        )
    if len(pairs) == len(dataset):
        return dataset
    print(f"'{source}': {len(dataset) - len(pairs)} of {len(dataset)} pairs have no flow and are left out.")
    labelled = copy(dataset)
    labelled.pairs = pairs
    return labelled
