"""What kernels make of weights, made once for each version of them.

Not of maps: compiled code writes other maps to the same memory, and nobody counts their versions.
"""

from collections.abc import Callable

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

made: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # by tensor, then by what: the version and the result


def once(weight: Tensor, what: object, make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives: for all iterations of a step, for all frames without training."""
    if weight.is_inference():  # which has no version, so that a change would not be seen
        return make()
    kept = made.setdefault(weight, {})
    version = weight._version
    if kept.get(what, (None,))[0] != version:
        kept[what] = version, make()
    return kept[what][1]
