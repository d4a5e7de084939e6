"""The networks, by name."""

import inspect
from collections.abc import Callable

from mdflow.errors import InputError
from mdflow.networks.deqflow import DEQFlow
from mdflow.networks.dis import DISFlow
from mdflow.networks.fastflownet import FastFlowNet
from mdflow.networks.lightflow import LightFlow
from mdflow.networks.liteflownet2 import LiteFlowNet2
from mdflow.networks.network import FlowNetwork
from mdflow.networks.pwcnet import PWCNet
from mdflow.networks.raft import gma, raft, raft_small
from mdflow.networks.zero import ZeroFlow

NETWORKS: dict[str, Callable[..., FlowNetwork]] = {
    "fastflownet": FastFlowNet,
    "raft": raft,
    "raft_small": raft_small,
    "gma": gma,
    "pwcnet": PWCNet,
    "lightflow": LightFlow,
    "liteflownet2": LiteFlowNet2,
    "deqflow": DEQFlow,
    "zero": ZeroFlow,
    "dis": DISFlow,
}


def create(name: str, **options: object) -> FlowNetwork:
    """A freshly initialised network; `options` are its constructor's keywords.

    The network remembers both as `name` and `options`, so that a file of its weights can say them.
    Raises InputError for an unknown name or option.
    """
    if name not in NETWORKS:
        raise InputError(f"Unknown network '{name}'; choose from {', '.join(NETWORKS)}.")
    known = inspect.signature(NETWORKS[name]).parameters
    unknown = [option for option in options if option not in known]
    if unknown:
        raise InputError(
            f"The network '{name}' has no option {', '.join(unknown)}; it has {', '.join(known) if known else 'none'}."
        )
    network = NETWORKS[name](**options)
    network.name, network.options = name, options
    return network
