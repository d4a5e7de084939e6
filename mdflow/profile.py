"""What a network costs: its parameters and its multiply-adds, counted without computing anything."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from mdflow.fitting import Size
from mdflow.networks import create


class Cost(NamedTuple):
    """Numbers of a network; `multiply_adds` is for one pair, one direction, and the last flow only."""

    parameters: int
    multiply_adds: int
    stride: int


def measure_cost(name: str, options: dict[str, object], size: Size) -> Cost:
    """The cost of the network `name` with `options` on images of `size` (height, width).

    Raises InputError for an unknown name or option, and for a size off the network's stride.
    """
    with FakeTensorMode():
        network = create(name, **options).eval()
        parameters = sum(parameter.numel() for parameter in network.parameters())
        if not parameters:
            return Cost(0, 0, network.stride)
        images = torch.empty(2, 1, 3, *size)
        multiply_adds = count_multiply_adds(lambda: network(*images, last_only=True))
    return Cost(parameters, multiply_adds, network.stride)


def count_multiply_adds(compute: Callable[[], object]) -> int:
    """The multiply-adds of convolutions, matrix products and local correlations in compute().

    A correlation is one multiply-add for each channel of each displacement. Not counted is what is cheap
    beside these: activations, norms, warping, RAFT's lookups.
    """
    # The plain local correlation takes the mean of a product over the channels; no other mean comes near its size.
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mean: count_mean}) as counter:
        compute()
    return counter.get_total_flops() // 2


def count_mean(shape: torch.Size, *_: object, **__: object) -> int:
    """Two operations for each value that a mean takes in: its product and its sum."""
    return 2 * torch.Size(shape).numel()
