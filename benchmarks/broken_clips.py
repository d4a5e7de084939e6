"""Train on a folder of clips of which some are broken, in ten ways: does it reach the end, and list them?

python -m benchmarks.broken_clips [--clips 1000] [--share 0.05] [--seed 0] -o FOLDER
"""

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.small import SMALL, flags
from mdflow.commands import main as mdflow
from mdflow.data.io import write_image
from mdflow.results import VideoFile

FRAMES, HEIGHT, WIDTH = 3, 64, 64
BATCH = 20


def main() -> None:
    """Make the clips, train through `mdflow pretrain`, and compare what it lists with what was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    broken = make_clips(arguments.out / "clips", arguments.clips, arguments.share, arguments.seed)
    pairs = arguments.clips * (FRAMES - 1)
    settings = SMALL | {
        "steps": -(-pairs // BATCH),  # one epoch
        "batch_size": BATCH,
        "score_every": 100_000,
        "checkpoint_every": 100_000,
        "data.unreadable": 0.05,
        "augment.colour": 0,
        "self_weight": 0,
    }
    clips, run = str(arguments.out / "clips"), str(arguments.out / "run")
    begin = time.monotonic()
    status = mdflow(["pretrain", "--data", clips, "-o", run, "--overwrite", *flags(settings)])
    listed = (arguments.out / "run" / "left_out.txt").read_text()
    missing = [path.name for path in broken if path.name not in listed]
    print(
        f"status {status} after {time.monotonic() - begin:.0f} s; {len(broken)} of {arguments.clips} clips broken, "
        f"{len(broken) - len(missing)} listed; not listed: {', '.join(missing) or 'none'}"
    )


def make_clips(folder: Path, count: int, share: float, seed: int) -> list[Path]:
    """Write small clips, `share` of them broken, each of WAYS in turn; those that are."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    ways = list(WAYS.items())
    broken = []
    for number in range(count):
        path = folder / f"{number:05d}.mp4"
        make_clip(path, number)
        if number in broken_numbers(count, share, seed):
            name, damage = ways[len(broken) % len(ways)]
            target = path.with_name(f"{number:05d}_{name}.mp4")
            path.rename(target)
            damage(target, chance)
            broken.append(target)
    return broken


def broken_numbers(count: int, share: float, seed: int) -> set[int]:
    """Which clips are to be broken."""
    return set(random.Random(seed).sample(range(count), round(count * share)))


def make_clip(path: Path, seed: int, frames: int = FRAMES) -> None:
    """A texture that moves by two pixels a frame."""
    noise = np.random.default_rng(seed).integers(0, 255, (HEIGHT // 4, WIDTH // 4 + 8, 3), np.uint8)
    wide = cv2.resize(noise, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    clip = VideoFile(path, 25)
    for number in range(frames):
        clip.write("", np.ascontiguousarray(wide[:, 2 * number : 2 * number + WIDTH]))
    clip.close()


def empty(path: Path, chance: random.Random) -> None:
    """A file without a byte."""
    path.write_bytes(b"")


def text(path: Path, chance: random.Random) -> None:
    """Something else altogether."""
    path.write_text("This is no video.\n" * 50)


def noise(path: Path, chance: random.Random) -> None:
    """Random bytes."""
    path.write_bytes(chance.randbytes(5000))


def cut(path: Path, chance: random.Random) -> None:
    """A copy that broke off."""
    path.write_bytes(path.read_bytes()[: chance.randint(100, 1000)])


def headless(path: Path, chance: random.Random) -> None:
    """Its first bytes are zeros."""
    path.write_bytes(bytes(200) + path.read_bytes()[200:])


def tailless(path: Path, chance: random.Random) -> None:
    """The table at its end is gone."""
    path.write_bytes(path.read_bytes()[:-600])


def single(path: Path, chance: random.Random) -> None:
    """One frame: no pair."""
    make_clip(path, chance.randrange(1000), frames=1)


def picture(path: Path, chance: random.Random) -> None:
    """An image under a video's name."""
    image = path.with_suffix(".png")
    write_image(image, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    image.replace(path)


def nowhere(path: Path, chance: random.Random) -> None:
    """A link to what is not there."""
    path.unlink()
    path.symlink_to("/nowhere/at/all.mp4")


def holed(path: Path, chance: random.Random) -> None:
    """Its pictures are overwritten, its table is whole: it opens, and does not decode."""
    content = bytearray(path.read_bytes())
    begin, end = content.index(b"mdat") + 4, content.index(b"moov")
    content[begin : end - 4] = chance.randbytes(end - 4 - begin)
    path.write_bytes(content)


WAYS: dict[str, Callable[[Path, random.Random], None]] = {
    way.__name__: way for way in (holed, empty, text, noise, cut, headless, tailless, single, picture, nowhere)
}


if __name__ == "__main__":
    main()
