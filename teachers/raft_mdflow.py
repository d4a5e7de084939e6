"""RAFT as MDFlow released it: the original's layout, but another pre-processing and sampling."""

from functools import partial

from teachers.raft_layout import convert_raft
from teachers.release import Release

RELEASE = Release(
    network="raft",
    options={"preprocessing": "centred", "align_corners": False},
    source="https://github.com/ltkong218/MDFlow",
    licence="none stated",
    published="none: it is the strong partner of MDFlow-Fast in training",
    convert=partial(convert_raft, context=128),
)
