"""Throw damaged files at every reader: nothing but InputError may come of them, soon, and without memory.

python benchmarks/fuzz.py [--inputs 1000000] [--seed 0] -o FOLDER [--only NAME ...]

Inputs are made from good files by flips, cuts, copies and numbers that headers like to trip over; one that reaches new
lines of our readers joins the files that others are made from. Each reader runs in a process of its own, with at most
MEMORY more than it starts with; what breaks it is left in FOLDER.
"""

import argparse
import io
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from mdflow.checkpoint import read_network, save_network
from mdflow.config import PretrainConfig
from mdflow.data.io import read_flow, read_image, write_flow, write_image
from mdflow.data.packed import Packed
from mdflow.data.sample import Sample
from mdflow.data.shards import make_index, read_index, write_shards
from mdflow.errors import InputError
from mdflow.networks import create
from mdflow.rundir import read_checkpoint
from mdflow.settings import build, dump
from teachers.release import read_release

MEMORY = 256 * 2**20
SECONDS = 10  # longer is a hang
LARGEST = 2**16  # bytes of an input
MOST_CRASHES = 20  # of a reader, before the next has its turn
NUMBERS = [0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
OURS = tuple(str(Path(__file__).resolve().parents[1] / name) for name in ("mdflow", "teachers"))

Read = Callable[[Path], object]


class Hang(BaseException):
    """A reader took too long."""


def main() -> None:
    """Fuzz one reader after the other and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="of all readers together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", metavar="NAME")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    chosen = {name: share for name, share in SHARES.items() if not arguments.only or name in arguments.only}
    context = multiprocessing.get_context("fork")  # the imports are done
    total = 0
    for name, share in chosen.items():
        left = round(arguments.inputs * share / sum(chosen.values()))
        seed, crashes = arguments.seed, 0
        while left > 0:
            count = context.Value("q", 0)
            process = context.Process(target=fuzz, args=(name, left, seed, arguments.out, count))
            process.start()
            process.join()
            left, total, seed = left - count.value, total + count.value, seed + 1000
            if process.exitcode:
                crashes += 1
                (arguments.out / name).replace(arguments.out / f"crash{process.exitcode}_{seed}_{name}")
                print(f"{name}: the process ended with {process.exitcode}", flush=True)
            if process.exitcode and (crashes > MOST_CRASHES or not count.value):
                break
    print(f"{total} inputs; {len(list(arguments.out.iterdir()))} that broke a reader in {arguments.out}")


def fuzz(name: str, inputs: int, seed: int, out: Path, count) -> None:
    """Throw `inputs` files at one reader."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # where decoders complain
    chance, path = random.Random(seed), out / name
    read, corpus, repair = prepare(name, out)
    signal.signal(signal.SIGPROF, hang)
    if name != "packed":  # which maps its file into a large space of addresses
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    seen: set[tuple[int, int]] = set()
    refused = found = 0
    begin = time.process_time()
    while count.value < inputs:
        content = mutate(chance, corpus)
        if chance.random() < 0.7:
            content = repair(content)
        path.write_bytes(content)
        before = len(seen)
        try:
            traced(read, path, seen)
        except InputError:
            refused += 1
        except (Exception, Hang) as error:
            found += 1
            (out / f"{type(error).__name__}_{sha256(content).hexdigest()[:8]}_{name}").write_bytes(content)
            print(f"{name}: {type(error).__name__}: {error}"[:300], flush=True)
        if len(seen) > before:
            corpus.append(content)
        count.value += 1
    path.unlink()
    rate = inputs / max(time.process_time() - begin, 1e-9)
    print(
        f"{name}: {inputs} inputs, {refused} refused, {found} broke it; {len(seen)} lines of ours reached, "
        f"{len(corpus)} files to start from, {rate:.0f} a second",
        flush=True,
    )


def hang(*_: object) -> None:
    """For the alarm."""
    raise Hang


def traced(read: Read, path: Path, seen: set[tuple[int, int]]) -> None:
    """Read a file within SECONDS of processor time, noting the lines of our code that it reaches."""

    def line(frame, event: str, _: object):
        seen.add((id(frame.f_code), frame.f_lineno))
        return line

    def call(frame, event: str, _: object):
        return line if frame.f_code.co_filename.startswith(OURS) else None

    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    sys.settrace(call)
    try:
        read(path)
    finally:
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_PROF, 0)


def mutate(chance: random.Random, corpus: list[bytes]) -> bytes:
    """A file made from others by one to six changes."""
    content = bytearray(chance.choice(corpus))
    for _ in range(chance.randint(1, 6)):
        chance.choice(CHANGES)(chance, content, corpus)
    return bytes(content[:LARGEST])


def place(chance: random.Random, content: bytearray) -> int:
    """Anywhere in a file, more often near its start, where headers are."""
    return chance.randrange(min(len(content), chance.choice((16, 64, 512, LARGEST)))) if content else 0


def flip(chance: random.Random, content: bytearray, corpus: list[bytes]) -> None:
    """One bit."""
    if content:
        content[place(chance, content)] ^= 1 << chance.randrange(8)


def number(chance: random.Random, content: bytearray, corpus: list[bytes]) -> None:
    """A number as headers hold it, in bytes or in digits."""
    value, start = chance.choice(NUMBERS), place(chance, content)
    size = chance.choice((1, 2, 4, 8))
    kinds = [(value % 2 ** (8 * size)).to_bytes(size, order) for order in ("little", "big")]
    new = chance.choice([*kinds, str(chance.choice((value, -value))).encode()])
    content[start : start + len(new)] = new


def cut(chance: random.Random, content: bytearray, corpus: list[bytes]) -> None:
    """The end away, or a piece from the middle."""
    start = place(chance, content)
    del content[start : chance.choice((len(content), start + chance.randint(1, 16)))]


def copy(chance: random.Random, content: bytearray, corpus: list[bytes]) -> None:
    """A piece of another file, put in or put over."""
    other = chance.choice(corpus)
    start, begin = place(chance, content), chance.randrange(len(other) or 1)
    piece = other[begin : begin + chance.randint(1, 64)]
    content[start : start + chance.choice((0, len(piece)))] = piece


CHANGES = (flip, flip, number, number, cut, copy)


def as_it_is(content: bytes) -> bytes:
    """No repair."""
    return content


def right_checksums(content: bytes) -> bytes:
    """A PNG whose chunks have the checksums of what is in them now, so that the next check sees it."""
    whole, position = bytearray(content), 8
    while position + 12 <= len(whole):
        end = position + 12 + int.from_bytes(whole[position : position + 4])
        if end > len(whole):
            break
        whole[end - 4 : end] = zlib.crc32(whole[position + 4 : end - 4]).to_bytes(4)
        position = end
    return bytes(whole)


def right_digest(content: bytes) -> bytes:
    """A run's checkpoint with the checksum of what is in it now."""
    return sha256(content[32:]).digest() + content[32:]


def prepare(name: str, out: Path) -> tuple[Read, list[bytes], Callable[[bytes], bytes]]:
    """A reader, good files, and what mends a checksum that hides the rest."""
    path = out / name
    suffix = path.suffix
    corpus = [b""]
    if name in SPECIAL:
        read, write, repair = SPECIAL[name]
        write(path)
        return read, [*corpus, path.read_bytes()], repair
    repair = right_checksums if suffix == ".png" else as_it_is
    if name.startswith("flow"):
        for shape in ((3, 4, 2), (1, 1, 2)):
            write_flow(path, np.random.default_rng(0).normal(0, 5, shape).astype(np.float32))
            corpus.append(path.read_bytes())
        return read_flow, corpus, repair
    for shape in ((5, 7, 3), (8, 16, 3)):
        write_image(path, np.random.default_rng(0).integers(0, 255, shape, np.uint8))
        corpus.append(path.read_bytes())
    return read_image, corpus, repair


def write_config(path: Path) -> None:
    """A whole config of a pretraining."""
    path.write_text(dump(PretrainConfig()))


def write_weights(path: Path) -> None:
    """The smallest file of weights: a network without parameters has only its description."""
    save_network(path, create("zero"))


def write_release(path: Path) -> None:
    """A state dict as others publish it."""
    torch.save({"state_dict": {"module.weight": torch.ones(2, 3), "bias": torch.zeros(1)}}, path)


def write_checkpoint(path: Path) -> None:
    """A run's checkpoint."""
    buffer = io.BytesIO()
    torch.save({"step": 3, "best": 1.5, "learner": {"weight": torch.ones(2)}}, buffer)
    path.write_bytes(sha256(buffer.getvalue()).digest() + buffer.getvalue())


def read_config(path: Path) -> object:
    """What a verb does with --config."""
    return build(PretrainConfig, path)


def write_packed(path: Path) -> None:
    """Two pairs in a packed file."""
    from mdflow.data.pack import pack

    path.unlink(missing_ok=True)
    pack(Frames(path.parent), "frames", path, workers=0)


class Frames:
    """Two small pairs."""

    name = "frames"

    def __init__(self, root: Path) -> None:
        self.root = root

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        return Sample(f"{index}", *np.full((2, 4, 4, 3), index, np.uint8))


def read_packed(path: Path) -> object:
    """All pairs of a packed file."""
    packed = Packed(path)
    return [packed[index] for index in range(min(len(packed), 4))]


def write_index(path: Path) -> None:
    """The index of a shard."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([[512, 100, 1024, 90]]))
    path.write_bytes(buffer.getvalue())


def write_tar(path: Path) -> None:
    """A shard of one pair."""
    write_shards(Frames(path.parent), path.parent / "made", pairs=1)
    path.write_bytes((path.parent / "made" / "000000.tar").read_bytes())


def read_shard_index(path: Path) -> object:
    """A shard's index, as it lies beside it."""
    return read_index(str(path).removesuffix(".npy"))


def read_tar(path: Path) -> object:
    """A shard that has no index yet."""
    return make_index(str(path))


SPECIAL: dict[str, tuple[Read, Callable[[Path], None], Callable[[bytes], bytes]]] = {
    "config.yaml": (read_config, write_config, as_it_is),
    "weights.safetensors": (read_network, write_weights, as_it_is),
    "released.pth": (read_release, write_release, as_it_is),
    "checkpoint": (read_checkpoint, write_checkpoint, right_digest),
    "packed": (read_packed, write_packed, as_it_is),
    "shard.tar.npy": (read_shard_index, write_index, as_it_is),
    "shard.tar": (read_tar, write_tar, as_it_is),
}

SHARES = {
    "flow.flo": 20,
    "flow.pfm": 20,
    "flow.npy": 8,
    "flow.png": 12,
    "flow.flo5": 6,
    "image.png": 8,
    "image.jpg": 5,
    "image.ppm": 8,
    "image.webp": 4,
    "config.yaml": 2,
    "weights.safetensors": 5,
    "released.pth": 3,
    "checkpoint": 3,
    "packed": 2,
    "shard.tar.npy": 2,
    "shard.tar": 2,
}
"""The readers, and how many of a hundred inputs each gets: slow ones fewer."""


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
