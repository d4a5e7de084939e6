"""Packing: every sample of a dataset into one LMDB file, by several processes, going on where it was stopped."""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from mdflow.data.packing.packed import DESCRIPTION, arrays_of, open_store, sample_key
from mdflow.data.sample import Dataset, Sample
from mdflow.errors import InputError

if TYPE_CHECKING:
    import lmdb

WAITING = 4  # samples a process that may wait to be written


def pack(dataset: Dataset, source: str, path: Path, workers: int) -> int:
    """Write the samples that are not in the file yet and mark it whole; return how many were written.

    `source` is recorded: InputError if the file was begun with another one, or cannot be written.
    """
    with open_store(path, readonly=False) as store:  # which says so if LMDB is not there
        import lmdb

        description = {"name": dataset.name, "length": len(dataset), "source": source}
        begin(store, description, path)
        with store.begin() as transaction:
            missing = [index for index in range(len(dataset)) if transaction.get(sample_key(index)) is None]
        bar = tqdm(total=len(dataset), initial=len(dataset) - len(missing), unit="pair", desc=path.name)
        try:
            for index, sample in read_in_order(dataset, missing, workers):
                put(store, index, sample)
                bar.update()
            write(store, {DESCRIPTION: json.dumps(description | {"whole": True}).encode()})
            store.sync()
        except lmdb.Error as error:
            raise InputError(f"{path} cannot be written: {error}; make room, and the same command goes on.") from error
        finally:
            bar.close()
    Path(f"{path}-lock").unlink(missing_ok=True)
    return len(missing)


def begin(store: "lmdb.Environment", description: dict[str, object], path: Path) -> None:
    """Record what is being packed; InputError if the file holds something else."""
    with store.begin() as transaction:
        before = transaction.get(DESCRIPTION)
    if before is not None:
        held = {key: value for key, value in json.loads(before).items() if key != "whole"}
        if held != description:
            raise InputError(f"{path} holds {held.get('length')} samples of {held.get('source')}; give another -o.")
    else:
        write(store, {DESCRIPTION: json.dumps(description).encode()})


def put(store: "lmdb.Environment", index: int, sample: Sample) -> None:
    """Write a sample: arrays that are new, then the record by which it counts as written."""
    record, contents = arrays_of(sample)
    write(store, contents | {sample_key(index): json.dumps(record).encode()})


def write(store: "lmdb.Environment", contents: dict[bytes, bytes]) -> None:
    """Put all of it or nothing; what is there already stays as it is, except the description."""
    with store.begin(write=True) as transaction:
        for key, content in contents.items():
            transaction.put(key, content, overwrite=key == DESCRIPTION)


def read_in_order(dataset: Dataset, indices: list[int], workers: int) -> Iterator[tuple[int, Sample]]:
    """The samples with their indices, read by as many processes; 0 means in this one."""
    if workers < 1:
        yield from ((index, dataset[index]) for index in indices)
        return
    # Spawned: a forked process inherits the locks of OpenCV's threads, and waits for them for ever.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=partial(hold, dataset)) as pool:
        waiting: list[tuple[int, Future]] = []
        try:
            for index in indices:
                waiting.append((index, pool.submit(held_sample, index)))
                if len(waiting) >= WAITING * workers:
                    first, future = waiting.pop(0)
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


HELD: list[Dataset] = []  # a process reads from its own copy: sent once, not with every index


def hold(dataset: Dataset) -> None:
    """Remember the dataset in a process of the pool."""
    HELD[:] = [dataset]


def held_sample(index: int) -> Sample:
    """A sample of the process's dataset."""
    return HELD[0][index]
