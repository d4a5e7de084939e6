"""The networks, by name."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial

from mdflow.errors import InputError, hint
from mdflow.networks.deqflow import DEQFlow
from mdflow.networks.dis import DISFlow
from mdflow.networks.fastflownet import FastFlowNet
from mdflow.networks.lightflow import LightFlow
from mdflow.networks.liteflownet2 import LiteFlowNet2
from mdflow.networks.network import FlowNetwork
from mdflow.networks.pwcnet import PWCNet
from mdflow.networks.raft import RAFT
from mdflow.networks.zero import ZeroFlow

NETWORKS: dict[str, Callable[..., FlowNetwork]] = {
    "fastflownet": FastFlowNet,
    "raft": RAFT,
    "raft_small": partial(RAFT, size="small", context_norm="none"),
    "gma": partial(RAFT, aggregate=True),
    "pwcnet": PWCNet,
    "lightflow": LightFlow,
    "liteflownet2": LiteFlowNet2,
    "deqflow": DEQFlow,
    "deqflow_large": partial(DEQFlow, size="large"),
    "deqflow_huge": partial(DEQFlow, size="huge"),
    "deqflow_gigantic": partial(DEQFlow, size="gigantic"),
    "zero": ZeroFlow,
    "dis": DISFlow,
}


def options_of(name: str) -> Mapping[str, inspect.Parameter]:
    """The options of a network, its constructor's keywords; InputError for an unknown name."""
    if name not in NETWORKS:
        raise InputError(f"Unknown network '{name}': {hint(name, NETWORKS)}")
    return inspect.signature(NETWORKS[name]).parameters


def create(name: str, **options: object) -> FlowNetwork:
    """A freshly initialised network; `options` are its constructor's keywords.

    The network remembers both as `name` and `options`, so that a file of its weights can say them.
    Raises InputError for an unknown name or option, or a number that has to be whole and is not.
    """
    known = options_of(name)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise InputError(
            f"The network '{name}' has no option {', '.join(unknown)}; it has {', '.join(known) if known else 'none'}."
        )
    for option, value in options.items():
        if known[option].annotation is int and type(value) is not int:
            raise InputError(f"The option {option}={value} of '{name}' is no whole number.")
    network = NETWORKS[name](**options)
    network.name, network.options = name, options
    return network
