"""DEQ-Flow's releases (code version 2.0), one for each size."""

from functools import partial

from torch import Tensor

from teachers.raft_layout import convert_raft
from teachers.release import Release, State


def convert(state: State, context: int) -> State:
    """The release's keys to ours; `context` is the number of context channels.

    Its weight normalisation is folded into plain weights before the gates are fused, and taken apart again
    after: ours normalises the context's share of the gates by itself.
    """
    plain = dict(state)
    normalised = [key.removesuffix("_g") for key in state if key.endswith(".weight_g")]
    for key in normalised:
        if key + "_v" in state:
            direction, norm = plain.pop(key + "_v"), plain.pop(key + "_g")
            plain[key] = direction * (norm / kernel_norms(direction))
    converted = convert_raft(plain, context)
    return split_norms(converted) if normalised else converted


def split_norms(state: State) -> State:
    """Each convolution of the refinement as torch's weight normalisation stores it: norm and direction."""
    split = {}
    for key, value in state.items():
        if key.startswith("update.") and key.endswith(".weight"):
            name = key.removesuffix("weight") + "parametrizations.weight.original"
            split[name + "0"] = kernel_norms(value)
            split[name + "1"] = value
        else:
            split[key] = value
    return split


def kernel_norms(weight: Tensor) -> Tensor:
    """The norm of each output's kernel, (outputs,1,1,1)."""
    return weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def release(network: str, hidden: int, published: str) -> Release:
    """The release of one size."""
    return Release(
        network=network,
        options={"weight_norm": True},
        source="https://github.com/locuslab/deq-flow",
        licence="none stated",
        published=published,
        convert=partial(convert, context=hidden),
    )


BASE = release("deqflow", 128, "C+T, 60 iterations: Sintel train EPE 1.39 clean, 2.77 final; KITTI-2015 4.46")
LARGE = release("deqflow_large", 192, "none for this size")
HUGE = release("deqflow_huge", 256, "C+T, 60 iterations: Sintel train EPE 1.27 clean, 2.59 final; KITTI-2015 3.76")
GIGANTIC = release("deqflow_gigantic", 384, "none for this size")
