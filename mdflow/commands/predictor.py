"""What the verbs that use a network share: which network, how it meets the frames, where results may go.

PyTorch is imported by the functions that need it alone: `mdflow predict --onnx` runs where there is none.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from mdflow.config import UNTRAINED
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError
from mdflow.results import make_folder

if TYPE_CHECKING:
    from mdflow.inference import Predictor
    from mdflow.networks.network import FlowNetwork

FITS = ("pad", "pad-bottom", "resize", "own")  # mdflow.fitting.FITS
PRECISIONS = ("float32", "bfloat16")  # mdflow.inference.PRECISIONS
STAGES = {
    "float": "float.safetensors",
    "calibration": "calibration.safetensors",
    "qat": "qat.safetensors",
    "int": "int.onnx",
}
"""The stages of `mdflow quantize` and their files."""


def add_predictor_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags about using a network."""
    parser.add_argument("--checkpoint", metavar="FILE", help="its weights; by default those that come with mdflow")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="of the network, such as iterations=24; fine_iterations=0 and finest_iterations=0: faster, as published",
    )
    parser.add_argument(
        "--fit", choices=FITS, help="how frames meet the network's stride (docs/evaluation.md); default: pad"
    )
    parser.add_argument("--size", type=parse_size, metavar="HxW", help="of the fit resize, such as 448x1024")
    parser.add_argument(
        "--compile",
        action="store_true",
        help="run the network through torch.compile: a minute once for each size, then kept",
    )
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="bfloat16: faster, almost as exact")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")


def name_and_checkpoint(text: str, checkpoint: str | None) -> tuple[str, str | None]:
    """A --network NAME or NAME=FILE with a --checkpoint, as the network's name and its weights."""
    name, _, file = text.partition("=")
    if file and checkpoint:
        raise InputError(f"--network {text} names its weights already; leave out --checkpoint.")
    return name, file or checkpoint


def open_network(name: str, checkpoint: str | None, options: list[str]) -> "FlowNetwork | OnnxPredictor":
    """The network with the weights of a file, the shipped ones, or (checkpoint "untrained") fresh ones of the seed 0.

    A checkpoint .onnx is a predictor already: the network and its fit are in the file.
    """
    if checkpoint and Path(checkpoint).suffix == ".onnx":
        return OnnxPredictor(checkpoint)
    import torch

    from teachers import load, untrained

    chosen = dict(parse_option(option) for option in options)
    try:
        if checkpoint == UNTRAINED:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                return untrained(name, **chosen).eval()
        return load(name, checkpoint, **chosen)
    except TypeError as error:
        if not chosen:
            raise
        raise InputError(f"The network '{name}' cannot be made with {', '.join(options)}: {error}.") from error


def open_weights(name: str, checkpoint: str | None, options: list[str]) -> "FlowNetwork":
    """As open_network, for verbs that make something of the weights; InputError for an ONNX file."""
    network = open_network(name, checkpoint, options)
    if isinstance(network, OnnxPredictor):
        raise InputError(f"'{checkpoint}' is exported already; give the .safetensors file that it was made of.")
    return network


def parse_option(text: str) -> tuple[str, object]:
    """ "iterations=24" as ("iterations", 24)."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"The option '{text}' has no value; expected KEY=VALUE such as iterations=24.")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise InputError(f"The option '{text}' cannot be read; expected KEY=VALUE such as iterations=24.") from error


def stage_file(folder: str | None, stage: str | None) -> str | None:
    """The checkpoint of a stage in a folder of `mdflow quantize`; without a stage, what was given."""
    if stage is None:
        return folder
    path = Path(folder or "") / STAGES[stage]
    if not folder or not path.is_file():
        raise InputError(
            f"'{folder or ''}' has no {STAGES[stage]}; --stage {stage} needs a folder as `mdflow quantize` wrote it."
        )
    return str(path)


def make_predictor(
    network: "FlowNetwork | OnnxPredictor", arguments: argparse.Namespace, fit: str = "pad"
) -> "Predictor | OnnxPredictor":
    """The network as the flags say; `fit` where --fit is not given. An ONNX file pads, whatever the set's fit is."""
    if isinstance(network, OnnxPredictor):
        refuse_flags_of_networks(arguments)
        return network
    from mdflow.inference import Predictor
    from mdflow.training import pick_device

    size = tuple(arguments.size) if arguments.size else None
    device = pick_device(arguments.device)
    return Predictor(network, arguments.fit or fit, size, arguments.compile, device, arguments.precision)


def refuse_flags_of_networks(arguments: argparse.Namespace) -> None:
    """Raise InputError if a flag was given that an ONNX file, where all is settled, cannot follow."""
    given = {
        "--option": arguments.option,
        "--fit": arguments.fit not in (None, "pad"),
        "--size": arguments.size,
        "--compile": arguments.compile,
        "--precision": arguments.precision != PRECISIONS[0],
        "--device": arguments.device not in ("auto", "cpu"),
    }
    flags = [flag for flag, value in given.items() if value]
    if flags:
        raise InputError(
            f"An ONNX file runs as it was exported, with the fit pad on the processor; leave out {', '.join(flags)}."
        )


def parse_size(text: str) -> list[int]:
    """ "192x256" as [height, width]."""
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"'{text}' is no size; expected HEIGHTxWIDTH such as 192x256")
    return [int(height), int(width)]


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
        raise InputError(f"'{path}' is not empty; use --overwrite to write into it all the same, or another folder.")
