"""Whether a network can be exported and quantised, said before any training."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from mdflow.deployment.export import to_onnx
from mdflow.deployment.profile import shares_of_modules
from mdflow.deployment.quantize import convolutions
from mdflow.errors import InputError
from mdflow.networks.network import FlowNetwork


class Deployable(NamedTuple):
    """What stands in the way of an export ("" if nothing does), and what integers could compute.

    `integers` are the names of the convolutions that `mdflow quantize` can turn, `share` their percent of all
    multiply-adds, `floats` the other layers with weights, "NAME (kind)".
    """

    obstacle: str
    integers: list[str]
    share: float
    floats: list[str]


def check_deployable(network: FlowNetwork, export: Callable[..., object] = to_onnx) -> Deployable:
    """Try to export the network at a small size, and look at its layers; weights do not matter."""
    network.eval()
    size = (2 * max(network.stride, 32),) * 2
    try:
        export(network, size)
        obstacle = ""
    except InputError as error:
        obstacle = str(error)
    layers = convolutions(network)
    share = sum(shares_of_modules(network, layers).values())
    kinds = (nn.ConvTranspose2d, nn.Linear, nn.MultiheadAttention)
    floats = [f"{name} ({type(one).__name__})" for name, one in network.named_modules() if isinstance(one, kinds)]
    return Deployable(obstacle, list(layers), share, floats)
