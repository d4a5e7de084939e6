"""What kernels make of weights, made once for each value of them.

Not of maps: they change each time.
"""

import ctypes
import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary


class Kept(NamedTuple):
    """Weights as they were, and what was made of them, by name."""

    values: Tensor
    results: dict[object, Tensor]


made: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def once(weight: Tensor, what: object, make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives: for all iterations of a step, for all frames without training.

    The values are compared, since fused optimisers, `Module.to` and writes through `.data` change them without a new
    version of the tensor.
    """
    kept = made.get(weight)
    if kept is None or not same(weight, kept.values):
        kept = made[weight] = Kept(weight.detach().clone(), {})
    if what not in kept.results:
        kept.results[what] = make()
    return kept.results[what]


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors on the CPU are the same, bit for bit."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if not (one.is_contiguous() and other.is_contiguous()):
        return torch.equal(one, other)
    pointers = (ctypes.c_void_p(each.data_ptr()) for each in (one, other))
    # At 20 GB/s, where torch.equal compares one number at a time.
    return c_library().memcmp(*pointers, ctypes.c_size_t(one.nbytes)) == 0


@functools.cache
def c_library() -> ctypes.CDLL:
    """What C comes with; looked for where there are kernels alone."""
    return ctypes.CDLL(None)
