"""RAFT-small as the authors of RAFT released it."""

from functools import partial

from teachers.raft_layout import convert_raft
from teachers.release import Release

RELEASE = Release(
    network="raft_small",
    options={},
    source="https://github.com/princeton-vl/RAFT",
    licence="BSD-3-Clause",
    published="C+T: Sintel train EPE 2.21 clean, 3.35 final; KITTI-2015 train EPE 7.51",
    convert=partial(convert_raft, context=64),
)
