"""Serve a page to this machine's browser: drop a video or images, see flow, occlusion and confidence."""

import argparse
import os
import tempfile
from pathlib import Path

from mdflow.commands.predictor import open_network
from mdflow.desk import Desk
from mdflow.errors import InputError
from mdflow.networks.network import FlowNetwork
from mdflow.training import pick_device
from mdflow.upload import Limits

NETWORKS = ("fastflownet", "dis")
HOST = "127.0.0.1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow demo`."""
    parser.add_argument(
        "--network",
        action="append",
        metavar="NAME[=FILE]",
        help="a network to choose from, with its checkpoint or 'untrained'; repeat it (default: fastflownet and dis)",
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
    networks = open_networks(arguments.network or NETWORKS)
    device = pick_device(arguments.device)
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


def open_networks(texts: list[str]) -> dict[str, FlowNetwork]:
    """The networks by the name that the page shows: with a checkpoint, NAME and the file's."""
    networks = {}
    for text in texts:
        name, _, file = text.partition("=")
        shown = f"{name}, {Path(file).stem}" if file else name
        networks[text if shown in networks else shown] = open_network(name, file or None, [])
    return networks


def serve(desk: Desk, host: str, port: int | None) -> None:
    """The page, if Gradio is installed."""
    # Read when Gradio is imported and started: no word to its makers, no file outside the desk's folder.
    os.environ.update(
        GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1", GRADIO_TEMP_DIR=str(desk.folder / "uploads")
    )
    try:
        from mdflow import demo
    except ModuleNotFoundError as error:
        if error.name not in ("gradio", "starlette"):
            raise
        raise InputError("The page needs Gradio, which is not installed; install mdflow[demo].") from error
    demo.serve(demo.build_page(desk), desk, host, port)
