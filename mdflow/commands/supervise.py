"""Train a network with labels: its own published recipe, or the synthetic set's exact flow."""

import argparse

from mdflow import supervise
from mdflow.checkpoint import save_network
from mdflow.commands.training import (
    add_training_arguments,
    build_config,
    make_network,
    open_held_out,
    open_training_data,
)
from mdflow.config import SuperviseConfig
from mdflow.rundir import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow supervise`."""
    parser.add_argument("--network", metavar="NAME", help="the network to train")
    add_training_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train, then write network.safetensors into the run folder."""
    config = build_config(SuperviseConfig, arguments, network__name=arguments.network, network__init=arguments.init)
    network = make_network(config.network, config)
    dataset, held_out = open_training_data(config), open_held_out(config)
    folder = open_run(config, arguments.resume, arguments.overwrite)
    supervise.run(config, network, dataset, held_out, folder)
    save_network(folder.path / "network.safetensors", network)
    print(f"Wrote {folder.path / 'network.safetensors'}.")
