"""Damaged files of every kind end in InputError, within the memory that they can fill (benchmarks: a million)."""

import random
import tracemalloc

import numpy as np
import pytest

from benchmarks.fuzz import mutate
from benchmarks.fuzz_readers import SHARES, prepare
from mdflow.data.io import read_flow, write_flow
from mdflow.errors import InputError

UNTRUSTED = [name for name in SHARES if name != "packed"]


@pytest.mark.parametrize("name", UNTRUSTED)
def test_damaged_files_are_refused_or_read(tmp_path, name):
    read, corpus, repair = prepare(name, tmp_path)
    chance, refused = random.Random(0), 0
    for _ in range(60):
        content = mutate(chance, corpus)
        (tmp_path / name).write_bytes(repair(content) if chance.random() < 0.7 else content)
        try:
            read(tmp_path / name)
        except InputError as error:
            refused += 1
            assert name == "config.yaml" or name.removesuffix(".npy") in str(error)  # a setting is named by itself
    assert refused > 5


@pytest.mark.parametrize("suffix", [".flo", ".pfm", ".npy"])
@pytest.mark.parametrize("share", [1, 0.5])
def test_a_flow_file_takes_four_times_its_size_at_most(tmp_path, suffix, share):
    path = tmp_path / f"a{suffix}"
    write_flow(path, np.zeros((300, 400, 2), np.float32))
    size = int(path.stat().st_size * share)
    path.write_bytes(path.read_bytes()[:size])
    tracemalloc.start()
    try:
        if share == 1:
            read_flow(path)
        else:
            with pytest.raises(InputError):
                read_flow(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * size + 2**16
    finally:
        tracemalloc.stop()
