"""Pack pairs into tar files of a thousand, for collections larger than a disk: training reads them where they lie.

Images alone: labels are not stored (mdflow pack keeps them).
"""

import argparse
import re
from pathlib import Path

from mdflow.data import open_datasets
from mdflow.data.mixture import Mixture
from mdflow.data.packing.ranges import is_url
from mdflow.data.packing.shards import Shards, index_of, write_shards
from mdflow.data.sample import Dataset
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
    refuse_own_sources(dataset, arguments.out)
    written = write_shards(dataset, arguments.out, arguments.pairs, f".{arguments.images}")
    remove_older(arguments.out, written)
    print(f"Wrote {len(dataset)} pairs to {len(written)} shards in {arguments.out}.")
    if dataset[0].flow12 is not None:
        print("Their labels were left out: shards hold images alone; `mdflow pack` keeps labels.")


def refuse_own_sources(dataset: Dataset, folder: Path) -> None:
    """Raise InputError where a shard that is read lies in the folder that is written to."""
    parts = dataset.datasets if isinstance(dataset, Mixture) else [dataset]
    sources = [source for part in parts if isinstance(part, Shards) for source in part.sources if not is_url(source)]
    own = next((source for source in sources if Path(source).resolve().parent == folder.resolve()), None)
    if own is not None:
        raise InputError(f"'{own}' is read and lies in '{folder}', where the new shards go; give another -o.")


def remove_older(folder: Path, written: list[Path]) -> None:
    """Remove the shards of an earlier call beyond those written now, with their indices; other files stay."""
    for path in folder.glob("*.tar"):
        if re.fullmatch(r"\d{6,}\.tar", path.name) and path not in written:
            path.unlink()
            Path(index_of(str(path))).unlink(missing_ok=True)
