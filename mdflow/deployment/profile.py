"""What a network costs: its parameters, multiply-adds and memory, counted without computing anything."""

import weakref
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mdflow.correlation import backend
from mdflow.fitting import Size
from mdflow.kernels.native import without_kernels
from mdflow.networks import create, options_of
from mdflow.networks.network import FlowNetwork

# What decides by the images what is computed, made to compute its most: RAFT's costs on demand, DEQ-Flow's early end.
COUNTED = {"correlation": "all_pairs", "tolerance": 0.0}


class Cost(NamedTuple):
    """Numbers of a network; `multiply_adds` is for one pair, one direction, and the last flow only."""

    parameters: int
    multiply_adds: int
    stride: int


def measure_cost(name: str, options: dict[str, object], size: Size) -> Cost:
    """The cost of the network `name` with `options` on images of `size` (height, width), with the options COUNTED.

    Raises InputError for an unknown name or option, and for a size off the network's stride.
    """
    with FakeTensorMode():
        network = countable(name, options)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        if not parameters:
            return Cost(0, 0, network.stride)
        images = torch.empty(2, 1, 3, *size)
        multiply_adds = count_multiply_adds(lambda: network(*images, last_only=True))
    return Cost(parameters, multiply_adds, network.stride)


def countable(name: str, options: dict[str, object]) -> FlowNetwork:
    """The network in evaluation mode, with those of the options COUNTED that it has."""
    known = options_of(name)
    most = {option: value for option, value in COUNTED.items() if option in known}
    return create(name, **{**options, **most}).eval()


def count_multiply_adds(compute: Callable[[], object]) -> int:
    """The multiply-adds of convolutions, matrix products and local correlations in compute().

    A correlation is one multiply-add for each channel of each displacement. Not counted is what is cheap
    beside these: activations, norms, warping, RAFT's lookups.
    """
    return sum(count_by_module(compute).get("Global", {}).values())


def count_by_module(compute: Callable[[], object]) -> dict[str, dict[str, int]]:
    """The same by module (class name and path; "Global" is all) and by kind of operation."""
    # The plain local correlation takes the mean of a product over the channels; no other mean comes near its size.
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.aten.mean: count_mean})
    with torch.no_grad(), backend("plain"), without_kernels(), counter:
        compute()
    counts = counter.get_flop_counts()
    return {name: {str(kind): count // 2 for kind, count in kinds.items()} for name, kinds in counts.items()}


def block_costs(name: str, options: dict[str, object], size: Size) -> tuple[dict[str, int], int]:
    """Multiply-adds of each block, and the most bytes that activations take at one time, for one pair of images.

    A block is a child of the network; what the network computes outside of them is "elsewhere". The memory is that of
    PyTorch without gradients, weights and images left out, RAFT's with the costs of all pairs.
    """
    with FakeTensorMode():
        network = countable(name, options)
        images = torch.empty(2, 1, 3, *size)
        memory = PeakMemory()
        with torch.no_grad(), memory:
            network(*images, last_only=True)
        counts = count_by_module(lambda: network(*images, last_only=True))
    root = type(network).__name__
    totals = {key: sum(kinds.values()) for key, kinds in counts.items()}
    blocks = {child: totals.get(f"{root}.{child}", 0) for child, _ in network.named_children()}
    blocks = {child: count for child, count in blocks.items() if count}
    return blocks | {"elsewhere": totals.get("Global", 0) - sum(blocks.values())}, memory.peak


def shares_of_modules(network: FlowNetwork, names: Iterable[str]) -> dict[str, float]:
    """The percent of all multiply-adds that each named module of the network computes, counted at a small size."""
    images = torch.zeros(2, 1, 3, *(2 * max(network.stride, 32),) * 2)
    counts = count_by_module(lambda: network(*images, last_only=True))
    everything = max(sum(counts.get("Global", {}).values()), 1)
    root = type(network).__name__
    return {name: 100 * sum(counts.get(f"{root}.{name}", {}).values()) / everything for name in names}


class PeakMemory(TorchDispatchMode):
    """Adds up the tensors that are made and not yet freed; `peak` is the most bytes at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: dict[int, int] = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.add(tensor.untyped_storage())
        return result

    def add(self, storage: torch.UntypedStorage) -> None:
        """Count a storage that is new until it is freed."""
        place = storage._cdata
        if place not in self.known:
            self.known[place] = storage.nbytes()
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self.free, place)

    def free(self, place: int) -> None:
        """A storage is gone."""
        self.live -= self.known.pop(place)


def count_mean(shape: torch.Size, *_: object, **__: object) -> int:
    """Two operations for each value that a mean takes in: its product and its sum."""
    return 2 * torch.Size(shape).numel()
