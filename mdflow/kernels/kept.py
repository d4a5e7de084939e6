"""What kernels make of weights, and of maps that they look at often, made once for each version of them."""

from collections.abc import Callable

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

made: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # by tensor, then by what: the version and the result


def once(tensor: Tensor, what: object, make: Callable[[], Tensor]) -> Tensor:
    """What `make` gives of a tensor: for all iterations of a step, for all frames without training."""
    if tensor.is_inference():  # which has no version, so that a change would not be seen
        return make()
    kept = made.setdefault(tensor, {})
    version = tensor._version
    if kept.get(what, (None,))[0] != version:
        kept[what] = version, make()
    return kept[what][1]
