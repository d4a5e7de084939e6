"""RAFT as its authors released it."""

from functools import partial

from teachers.raft_layout import convert_raft
from teachers.release import Release

RELEASE = Release(
    network="raft",
    options={},
    source="https://github.com/princeton-vl/RAFT",
    licence="BSD-3-Clause",
    published="C+T: Sintel train EPE 1.43 clean, 2.71 final; KITTI-2015 train EPE 5.04",
    convert=partial(convert_raft, context=128),
)
