"""A network in one .safetensors file: its weights and their checksum, its name and its constructor's options."""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mdflow.deployment.quantize import quantized_like
from mdflow.errors import InputError
from mdflow.networks import create
from mdflow.networks.network import FlowNetwork
from mdflow.system.storage import write_whole


def save_network(path: Path, network: FlowNetwork, half: bool = False) -> None:
    """Write a network that mdflow.networks.create made to `path`; if interrupted, the old file stays.

    `half` stores the weights in half precision, as shipped ones are; they load as float32 all the same.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    description = {"network": network.name, "options": json.dumps(network.options), "sha256": digest(state)}
    write_whole(path, save(state, metadata=description))


def load_network(path: Path, **options: object) -> FlowNetwork:
    """The network that save_network wrote to `path`; `options` replace recorded ones, and new parts start as new.

    Raises InputError if the file is not such a file or its weights do not fit the network it names.
    """
    return restore(*read_network(path), options, path)


def restore(
    name: str, recorded: dict[str, object], state: dict[str, Tensor], options: dict[str, object], path: Path
) -> FlowNetwork:
    """The network of what read_network gave; `options` replace recorded ones.

    Raises InputError if the weights do not fit, or if there is no such network: it blames the file where that is so
    with the recorded options alone.
    """
    chosen = {**recorded, **options}
    try:
        network = create(name, **chosen)
    except (TypeError, ValueError) as error:
        reason = str(error).rstrip(".")
        if chosen == recorded:
            raise InputError(f"'{path}' names options with which there is no '{name}': {reason}.") from error
        restore(name, recorded, state, {}, path)
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise InputError(f"There is no '{name}' with {given}: {reason}.") from error
    fit_weights(network, state if chosen == recorded else network.grown(state), path)
    return network


def read_network(path: Path) -> tuple[str, dict[str, object], dict[str, Tensor]]:
    """(network name, constructor options, state dict) of a file written by save_network."""
    try:
        with safe_open(path, framework="pt") as file:
            description = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"Cannot read the weights '{path}': {error}.") from error
    if not {"network", "options"} <= description.keys():
        raise InputError(f"'{path}' does not say which network it holds; expected a file written by mdflow.")
    if description.get("sha256", known := digest(state)) != known:  # files of earlier versions have none
        raise InputError(f"The weights '{path}' are damaged: they do not fit their checksum; get the file again.")
    try:
        options = json.loads(description["options"])
    except ValueError as error:
        raise InputError(f"'{path}' has options that cannot be read; expected a file written by mdflow.") from error
    if not isinstance(options, dict):
        raise InputError(f"'{path}' has options that cannot be read; expected a file written by mdflow.")
    return description["network"], options, state


def digest(state: dict[str, Tensor]) -> str:
    """The SHA-256 of all weights with their names, as hexadecimal digits."""
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(name.encode() + b"\0")
        total.update(state[name].contiguous().flatten().view(torch.uint8).numpy())
    return total.hexdigest()


def fit_weights(network: FlowNetwork, state: dict[str, Tensor], path: Path) -> None:
    """Load `state` into `network`; raise InputError with every key or shape that does not fit.

    Convolutions that are quantised in the state become so in the network (mdflow.deployment.quantize).
    """
    quantized_like(network, state)
    expected = network.state_dict()
    problems = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
            for key in expected
            if key in state and state[key].shape != expected[key].shape
        ],
    }
    found = [f"{kind}: {', '.join(keys)}" for kind, keys in problems.items() if keys]
    if found:
        raise InputError(f"The weights in '{path}' do not fit {type(network).__name__}; {'; '.join(found)}.")
    network.load_state_dict(state)
