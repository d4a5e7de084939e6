"""What there is to know of a released checkpoint, and how its file is read."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from mdflow.errors import InputError
from mdflow.system.pickled import read_pickled

State = dict[str, Tensor]


@dataclass(frozen=True)
class Release:
    """A network as somebody published it.

    `network` and `options`: what mdflow.networks.create needs; `convert`: the release's keys to ours.
    """

    network: str
    options: dict[str, object]
    source: str
    licence: str
    published: str
    convert: Callable[[State], State] = field(default=dict)


def read_release(path: Path) -> State:
    """The state dict of a .pth or .pt file: bare, or under "state_dict" or "model"; "module." is dropped.

    Only tensors are read; a file that asks to run code is refused with InputError.
    """
    try:
        content = read_pickled(path.read_bytes(), path)
    except OSError as error:
        raise InputError(f"Cannot read the weights '{path}': {error}.") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    tensors = isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values())
    if not tensors or not content:
        raise InputError(f"'{path}' holds no state dict; expected one, bare or under 'state_dict' or 'model'.")
    return {key.removeprefix("module."): value for key, value in content.items()}


def rename(state: State, patterns: dict[str, str]) -> State:
    """The state with each key rewritten by the first regular expression that matches its start."""
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in patterns.items():
            new, count = re.subn(rf"^{pattern}", replacement, key)
            if count:
                key = new
                break
        renamed[key] = value
    return renamed
