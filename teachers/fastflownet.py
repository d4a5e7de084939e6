"""FastFlowNet as MDFlow released it."""

from teachers.release import Release

RELEASE = Release(
    network="fastflownet",
    options={"normalize": False},
    source="https://github.com/ltkong218/MDFlow",
    licence="none stated",
    published="Sintel clean EPE 2.53 train, 4.73 test; KITTI-2015 EPE 3.02 train, Fl-all 11.43 % test",
)
