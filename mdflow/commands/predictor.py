"""What the verbs that use a network share: which network, how it meets the frames, where results may go."""

import argparse
from pathlib import Path

import yaml

from mdflow.commands.training import parse_size
from mdflow.errors import InputError
from mdflow.fitting import FITS
from mdflow.inference import Predictor
from mdflow.networks import create
from mdflow.networks.network import FlowNetwork
from mdflow.results import make_folder
from mdflow.training import pick_device
from teachers import load

UNTRAINED = "untrained"


def add_predictor_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags about using a network."""
    parser.add_argument("--checkpoint", metavar="FILE", help="its weights; by default those that come with mdflow")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the network, such as iterations=24",
    )
    parser.add_argument(
        "--fit", choices=FITS, help="how frames meet the network's stride (docs/evaluation.md); default: pad"
    )
    parser.add_argument("--size", type=parse_size, metavar="HxW", help="of the fit resize, such as 448x1024")
    parser.add_argument("--compile", action="store_true", help="run the network through torch.compile")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")


def open_network(name: str, checkpoint: str | None, options: list[str]) -> FlowNetwork:
    """The network with the weights of a file, the shipped ones, or (checkpoint "untrained") fresh ones."""
    chosen = dict(parse_option(option) for option in options)
    try:
        return create(name, **chosen) if checkpoint == UNTRAINED else load(name, checkpoint, **chosen)
    except TypeError as error:
        if not chosen:
            raise
        raise InputError(f"The network '{name}' cannot be made with {', '.join(options)}: {error}.") from error


def parse_option(text: str) -> tuple[str, object]:
    """ "iterations=24" as ("iterations", 24)."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"The option '{text}' has no value; expected KEY=VALUE such as iterations=24.")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"The option '{text}' cannot be read; expected KEY=VALUE such as iterations=24.") from error


def make_predictor(network: FlowNetwork, arguments: argparse.Namespace, fit: str = "pad") -> Predictor:
    """The network as the flags say; `fit` where --fit is not given."""
    size = tuple(arguments.size) if arguments.size else None
    device = pick_device(arguments.device)
    return Predictor(network, arguments.fit or fit, size, arguments.compile, device)


def require_new_file(path: Path, overwrite: bool) -> None:
    """Raise InputError unless a file can be written there; done before the work, not after."""
    if path.exists() and (path.is_dir() or not overwrite):
        what = "is a folder; give a file" if path.is_dir() else "exists; use --overwrite to replace it"
        raise InputError(f"'{path}' {what}.")
    make_folder(path.parent)


def require_empty_folder(path: Path, overwrite: bool) -> None:
    """Make the folder; raise InputError if that fails, or if it holds something that may not be replaced."""
    if path.is_file():
        raise InputError(f"'{path}' is a file; give a folder for the results.")
    make_folder(path)
    if not overwrite and any(path.iterdir()):
        raise InputError(f"'{path}' is not empty; use --overwrite to replace what is there, or another folder.")
