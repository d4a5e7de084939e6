"""Serve a page to this machine's browser: drop a video or images, see flow, occlusion and confidence."""

import argparse
import os
import tempfile
from pathlib import Path

import torch

from mdflow.commands.predictor import STAGES, name_and_checkpoint, open_network
from mdflow.demo_page.desk import Desk, Networks, numbered
from mdflow.demo_page.upload import Limits
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError, missing
from mdflow.inference import Predictor
from mdflow.training import pick_device

NETWORKS = ("fastflownet", "dis")
HOST = "127.0.0.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow demo`."""
    parser.add_argument(
        "--network",
        action="append",
        metavar="NAME[=FILE]",
        help="a network to choose from, with its checkpoint, a folder of stages that mdflow quantize wrote, an .onnx "
        "file, or 'untrained'; repeat it (default: fastflownet and dis)",
    )
    parser.add_argument("--host", default=HOST, help="the address to answer at (default: this machine alone)")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto")
    parser.add_argument("--megabytes", type=int, default=Limits.megabytes, help="the largest file taken")
    parser.add_argument("--seconds", type=float, default=Limits.seconds, help="the longest video taken")
    parser.add_argument("--frames", type=int, default=Limits.frames, help="the most frames looked at in one go")


def run(arguments: argparse.Namespace) -> None:
    """Serve until interrupted; what was uploaded and shown is removed at the end."""
    check_numbers(arguments)
    limits = Limits(arguments.megabytes, arguments.seconds, arguments.frames)
    device = pick_device(arguments.device)
    networks = open_networks(arguments.network or NETWORKS, device)
    with tempfile.TemporaryDirectory(prefix="mdflow-demo-") as folder:
        serve(Desk(networks, Path(folder), limits, device), arguments.host, arguments.port)


def check_numbers(arguments: argparse.Namespace) -> None:
    """Raise InputError for a number that makes no sense."""
    if arguments.port is not None and not 0 < arguments.port < 65536:
        raise InputError(f"The port {arguments.port} is out of range; expected 1 to 65535.")
    smallest = {"megabytes": 1, "seconds": 1, "frames": 2}
    for name, least in smallest.items():
        if not getattr(arguments, name) >= least:
            raise InputError(
                f"--{name} {getattr(arguments, name):g} leaves nothing to look at; expected {least} or more."
            )


def open_networks(texts: list[str], device: torch.device) -> Networks:
    """The networks by the name that the page shows: with a checkpoint, NAME and the file's, numbered where alike.

    A folder that `mdflow quantize` wrote gives every stage that is in it.
    """
    networks = {}
    for text in texts:
        name, file = name_and_checkpoint(text, None)
        for shown, checkpoint in checkpoints(name, file):
            network = open_network(name, checkpoint, [])
            ready = network if isinstance(network, OnnxPredictor) else Predictor(network, device=device)
            networks[numbered(shown, networks)] = ready
    return networks


def checkpoints(name: str, file: str | None) -> list[tuple[str, str | None]]:
    """(name to show, checkpoint) of a network given with a file, a folder of stages, or nothing."""
    if file is None:
        return [(name, None)]
    path = Path(file)
    if not path.is_dir():
        return [(f"{name}, {path.stem}", file)]
    stages = [stage for stage in STAGES if (path / STAGES[stage]).is_file()]
    if not stages:
        raise InputError(f"'{file}' holds no stage of a network; give a file, or a folder of `mdflow quantize`.")
    return [(f"{name}, {path.name} {stage}", str(path / STAGES[stage])) for stage in stages]


def serve(desk: Desk, host: str, port: int | None) -> None:
    """The page, if Gradio is installed."""
    # Read when Gradio is imported and started: no word to its makers, no file outside the desk's folder.
    os.environ.update(
        GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", GRADIO_TEMP_DIR=str(desk.folder / "uploads")
    )
    try:
        from mdflow.demo_page import page
    except ModuleNotFoundError as error:
        if error.name not in ("gradio", "starlette"):
            raise
        raise missing("The page needs Gradio, which is not installed", "demo") from error
    page.serve(page.build_page(desk), desk, host, port)
