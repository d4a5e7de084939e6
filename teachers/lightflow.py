"""LightFlow in the layout of FlowNetL, a PyTorch reimplementation (the paper released no weights)."""

from teachers.release import Release, State, rename

BLOCKS = {
    **{f"conv{number}": f"down.{number - 1}" for number in (1, 2, 3)},
    **{f"conv{level}a": f"down.{level - 1}" for level in (4, 5, 6)},
    **{f"conv{level}b": f"refine.{level}" for level in (4, 5, 6)},
    **{f"conv{number}": f"up.{number - 7}" for number in range(7, 12)},
    **{f"conv{number}": f"predict.{number - 12}" for number in range(12, 17)},
}


def convert(state: State) -> State:
    """The release's keys to ours."""
    return rename(state, {rf"{theirs}\.": f"{ours}." for theirs, ours in BLOCKS.items()})


RELEASE = Release(
    network="lightflow",
    options={},
    source="https://arxiv.org/abs/1804.05830",
    licence="none stated",
    published="FlyingChairs EPE 3.45 (paper 3.14; at widths 0.75 and 0.5: 3.63 and 4.44)",
    convert=convert,
)
