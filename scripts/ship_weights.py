"""Put trained weights where `teachers.load(NAME)` finds them, in half precision.

python scripts/ship_weights.py RUN/network.safetensors NAME [--option iterations=12]
"""

import argparse
from pathlib import Path

from mdflow.checkpoint import load_network, save_network
from mdflow.commands.predictor import parse_option
from teachers import WEIGHTS


def main() -> None:
    """Write teachers/weights/NAME.safetensors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("name")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="in place of the run's own")
    arguments = parser.parse_args()
    WEIGHTS.mkdir(exist_ok=True)
    path = WEIGHTS / f"{arguments.name}.safetensors"
    options = dict(parse_option(option) for option in arguments.option)
    save_network(path, load_network(arguments.checkpoint, **options), half=True)
    print(f"Wrote {path} ({path.stat().st_size / 2**20:.1f} MB); write a card {arguments.name}.md beside it.")


if __name__ == "__main__":
    main()
