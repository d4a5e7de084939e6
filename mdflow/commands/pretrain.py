"""Learn a network from unlabelled video: photometric and smoothness terms, then its own flow on augmented frames."""

import argparse

from mdflow import pretrain
from mdflow.commands.training import add_training_arguments, train_one
from mdflow.config import PretrainConfig
from mdflow.pretrain import trained_start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow pretrain`."""
    parser.add_argument("--network", metavar="NAME", help="the network to train (default fastflownet)")
    add_training_arguments(parser, PretrainConfig)


def run(arguments: argparse.Namespace) -> None:
    """Train, then write network.safetensors into the run folder."""
    train_one(PretrainConfig, pretrain.run, arguments, trained_start())
