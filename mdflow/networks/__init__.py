"""The networks, by name."""

import inspect
from collections.abc import Callable

from mdflow.errors import InputError
from mdflow.networks.fastflownet import FastFlowNet
from mdflow.networks.network import FlowNetwork
from mdflow.networks.raft import raft, raft_small

NETWORKS: dict[str, Callable[..., FlowNetwork]] = {
    "fastflownet": FastFlowNet,
    "raft": raft,
    "raft_small": raft_small,
}


def create(name: str, **options: object) -> FlowNetwork:
    """A freshly initialised network; `options` are its constructor's keywords.

    Raises InputError for an unknown name or option.
    """
    if name not in NETWORKS:
        raise InputError(f"Unknown network '{name}'; choose from {', '.join(NETWORKS)}.")
    known = inspect.signature(NETWORKS[name]).parameters
    unknown = [option for option in options if option not in known]
    if unknown:
        raise InputError(
            f"The network '{name}' has no option {', '.join(unknown)}; "
            f"it has {', '.join(known) if known else 'none'}."
        )
    return NETWORKS[name](**options)
