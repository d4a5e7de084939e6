"""Learn a network from unlabelled video: photometric and smoothness terms, then its own flow on augmented frames."""

import argparse

from mdflow import pretrain
from mdflow.checkpoint import save_network
from mdflow.commands.training import (
    add_training_arguments,
    build_config,
    make_network,
    open_held_out,
    open_training_data,
)
from mdflow.config import PretrainConfig
from mdflow.rundir import open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow pretrain`."""
    parser.add_argument("--network", metavar="NAME", help="the network to train (default fastflownet)")
    add_training_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Train, then write network.safetensors into the run folder."""
    config = build_config(PretrainConfig, arguments, network__name=arguments.network, network__init=arguments.init)
    network = make_network(config.network, config)
    dataset, held_out = open_training_data(config), open_held_out(config)
    folder = open_run(config, arguments.resume, arguments.overwrite)
    pretrain.run(config, network, dataset, held_out, folder)
    save_network(folder.path / "network.safetensors", network)
    print(f"Wrote {folder.path / 'network.safetensors'}.")
