"""Train a network with labels: its own published recipe, or the synthetic set's exact flow."""

import argparse

from mdflow import supervise
from mdflow.commands.training import add_training_arguments, train_one
from mdflow.config import SuperviseConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow supervise`."""
    parser.add_argument("--network", metavar="NAME", help="the network to train (default fastflownet)")
    add_training_arguments(parser, SuperviseConfig)


def run(arguments: argparse.Namespace) -> None:
    """Train, then write network.safetensors into the run folder."""
    train_one(SuperviseConfig, supervise.run, arguments)
