"""Memory and speed of reading shards, for collections of 10, 1,000 and 100,000 clips.

python -m benchmarks.shards [--clips 10 1000 100000] -o FOLDER

A clip is ten pairs. The larger collections name the same shard of a hundred clips again and again, as a list of paths,
so that the disk of a small machine holds them; every name has an index and a place of its own, as a thousand files do.
"""

import argparse
import itertools
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np

from mdflow.data.batches import Positions
from mdflow.data.packing.shards import Shards, write_shards
from mdflow.data.sample import Sample
from mdflow.reports.tables import text_table

PAIRS_A_CLIP, CLIPS_A_SHARD, READ = 10, 100, 2000


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[10, 1000, 100_000])
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("fork")  # a process each, so that each has its own largest memory
    lines = []
    for clips in arguments.clips:
        listed = lay_out(arguments.out / str(clips), clips)
        answer = context.SimpleQueue()
        process = context.Process(target=measure, args=(listed, answer))
        process.start()
        lines.append([f"{clips}", *answer.get()])
        process.join()
    print(
        text_table(["clips", "pairs", "opened in s", "first batch in s", "pairs a second", "memory MB"], lines, left=1)
    )


def lay_out(folder: Path, clips: int) -> Path:
    """A list of shards that together hold so many clips."""
    in_one = min(clips, CLIPS_A_SHARD) * PAIRS_A_CLIP
    write_shards(Noise(in_one), folder, pairs=in_one)
    shard = folder / "000000.tar"
    names = [folder / f"{number:06d}.tar" for number in range(clips * PAIRS_A_CLIP // in_one)]
    for name in names[1:]:
        for suffix in ("", ".npy"):
            link = Path(f"{name}{suffix}")
            link.unlink(missing_ok=True)
            link.hardlink_to(f"{shard}{suffix}")
    listed = folder / "list.txt"
    listed.write_text("".join(f"{name.name}\n" for name in names))
    return listed


def measure(listed: Path, answer) -> None:
    """Open a collection, go to the middle of an epoch, read READ pairs in training's order."""
    before = memory()
    begin = time.perf_counter()
    dataset = Shards(listed)
    opened = time.perf_counter() - begin
    places = Positions(dataset, 1, seed=0, start=len(dataset) // 2).places()
    next(places)
    first = time.perf_counter() - begin - opened
    for _, index in itertools.islice(places, READ):
        dataset[index]
    rate = READ / (time.perf_counter() - begin - opened - first)
    answer.put([f"{len(dataset)}", f"{opened:.2f}", f"{first:.2f}", f"{rate:.0f}", f"{memory() - before:.1f}"])


def memory() -> float:
    """The memory of this process, MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


class Noise:
    """Pairs of small random frames."""

    name = "noise"

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        return Sample(f"{index}", *rng.integers(0, 256, (2, 32, 32, 3), np.uint8))


if __name__ == "__main__":
    main()
