"""What of a dataset can be learned from with labels."""

from collections.abc import Sequence
from copy import copy

from mdflow.data.files import FileDataset
from mdflow.data.packing.packed import Packed
from mdflow.data.packing.shards import Shards
from mdflow.data.sample import Dataset
from mdflow.data.videos import Videos
from mdflow.errors import InputError


def labelled_only(dataset: Dataset, source: str) -> Dataset:
    """The dataset without its pairs that have no flow, whose number is printed; InputError if none is left."""
    places = labelled_places(dataset)
    if not places:
        raise InputError(
            f"None of the {len(dataset)} pairs of '{source}' has a flow to learn from; "
            "use mdflow pretrain for unlabelled frames."
        )
    if len(places) == len(dataset):
        return dataset
    print(f"'{source}': {len(dataset) - len(places)} of {len(dataset)} pairs have no flow and are left out.")
    labelled = copy(dataset)
    if isinstance(dataset, Packed):
        labelled.places = places
    else:
        labelled.pairs = [dataset.pairs[place] for place in places]
    return labelled


def labelled_places(dataset: Dataset) -> Sequence[int]:
    """The indices of the pairs that have a flow, known without reading any image or flow."""
    if isinstance(dataset, Videos | Shards):
        return []
    if isinstance(dataset, FileDataset):
        return [place for place, pair in enumerate(dataset.pairs) if pair.flow12 is not None]
    if isinstance(dataset, Packed):
        return [place for place in range(len(dataset)) if dataset.has(place, "flow12")]
    return range(len(dataset))
