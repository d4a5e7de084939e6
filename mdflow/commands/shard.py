"""Pack pairs into tar files of a thousand, for collections larger than a disk: training reads them where they lie."""

import argparse
from pathlib import Path

from mdflow.data import open_datasets
from mdflow.data.packing.shards import write_shards
from mdflow.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow shard`."""
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH", help='videos, folders, or "synthetic"')
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="where the shards go")
    parser.add_argument("--pairs", type=int, default=1000, metavar="N", help="pairs a shard (default 1000)")
    parser.add_argument("--images", choices=["jpg", "webp", "png"], default="jpg", help="how images are stored")
    parser.add_argument("--overwrite", action="store_true", help="replace shards that are there")


def run(arguments: argparse.Namespace) -> None:
    """Write the shards and their indices, and say how many."""
    if arguments.pairs < 1:
        raise InputError(f"A shard of {arguments.pairs} pairs is none; give --pairs 1 or more.")
    if list(arguments.out.glob("*.tar")) and not arguments.overwrite:
        raise InputError(f"'{arguments.out}' holds shards already; use --overwrite, or give another -o.")
    dataset = open_datasets(arguments.data)
    for old in [*arguments.out.glob("*.tar"), *arguments.out.glob("*.tar.npy")]:  # the new ones may be fewer
        old.unlink()
    written = write_shards(dataset, arguments.out, arguments.pairs, f".{arguments.images}")
    print(f"Wrote {len(dataset)} pairs to {len(written)} shards in {arguments.out}.")
