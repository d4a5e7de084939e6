"""Put trained weights where `teachers.load(NAME)` finds them, in half precision.

python scripts/ship_weights.py RUN/network.safetensors [RUN2/network.safetensors ...] NAME [--option iterations=12]

Several checkpoints of one line, each trained on from the one before, are averaged: their mean is often better than
each (Wortsman et al., ICML 2022).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from mdflow.checkpoint import load_network, save_network
from mdflow.commands.predictor import parse_option
from mdflow.networks.network import FlowNetwork
from teachers import WEIGHTS


def main() -> None:
    """Write teachers/weights/NAME.safetensors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("name")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="in place of the run's own")
    arguments = parser.parse_args()
    WEIGHTS.mkdir(exist_ok=True)
    path = WEIGHTS / f"{arguments.name}.safetensors"
    options = dict(parse_option(option) for option in arguments.option)
    networks = [load_network(checkpoint, **options) for checkpoint in arguments.checkpoints]
    save_network(path, mean_of(networks), half=True)
    print(f"Wrote {path} ({path.stat().st_size / 2**20:.1f} MB); write a card {arguments.name}.md beside it.")


def mean_of(networks: Sequence[FlowNetwork]) -> FlowNetwork:
    """The first network with the mean of all their weights; whole numbers, such as counts, stay the first one's."""
    states = [network.state_dict() for network in networks]
    mean = {
        name: torch.stack([state[name].float() for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[0].items()
    }
    networks[0].load_state_dict(mean)
    return networks[0]


if __name__ == "__main__":
    main()
