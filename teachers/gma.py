"""GMA as its authors released it."""

from teachers.raft_layout import convert_raft
from teachers.release import Release, State


def convert(state: State) -> State:
    """The release's keys to ours; its positional embedding is unused in the released variant."""
    return convert_raft({k: v for k, v in state.items() if not k.startswith("att.pos_emb.")}, context=128)


RELEASE = Release(
    network="gma",
    options={},
    source="https://github.com/zacjiang/GMA",
    licence="WTFPL",
    published="C+T: Sintel train EPE 1.30 clean, 2.74 final; KITTI-2015 train EPE 4.69",
    convert=convert,
)
