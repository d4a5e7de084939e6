"""Any dataset or videos in one memory-mapped file that is taken wherever --data is."""

import argparse
import time
from pathlib import Path

from mdflow.data import open_dataset
from mdflow.data.packing.pack import pack
from mdflow.data.packing.packed import Packed
from mdflow.errors import InputError
from mdflow.results import make_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `mdflow pack`."""
    parser.add_argument("source", metavar="SRC", help='videos, frames, a dataset\'s root, or "synthetic"')
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DST", help="the file, such as clips.lmdb")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes that read (2; 0: none)")


def run(arguments: argparse.Namespace) -> None:
    """Pack what is not in the file yet."""
    if arguments.workers < 0:
        raise InputError(f"--workers {arguments.workers} is out of range; expected 0 or more.")
    if arguments.out.is_dir():
        raise InputError(f"'{arguments.out}' is a folder; give a file such as clips.lmdb.")
    if arguments.out.exists() and not Packed.recognises(arguments.out):
        raise InputError(f"'{arguments.out}' exists and is no packed dataset; give another -o.")
    dataset = open_dataset(arguments.source)
    make_folder(arguments.out.parent)
    start = time.monotonic()
    written = pack(dataset, arguments.source, arguments.out, arguments.workers)
    size = arguments.out.stat().st_size / 2**20
    print(f"Wrote {written} of {len(dataset)} pairs of {dataset.name} to {arguments.out}, {size:.1f} MiB, ", end="")
    print(f"in {time.monotonic() - start:.1f} s. Give this file wherever {arguments.source} was given.")
