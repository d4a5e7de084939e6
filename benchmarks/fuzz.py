"""Throw damaged files at every reader: nothing but InputError may come of them, soon, and without memory.

python -m benchmarks.fuzz [--inputs 1000000] [--seed 0] -o FOLDER [--only NAME ...]

Inputs are made from good files by flips, cuts, copies and numbers that headers like to trip over; one that reaches new
lines of our readers joins the files that others are made from. Each reader runs in a process of its own, with at most
MEMORY more than it starts with; what breaks it is left in FOLDER.
"""

import argparse
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from hashlib import sha256
from pathlib import Path

import torch

from benchmarks.fuzz_readers import SHARES, Read, prepare
from mdflow.errors import InputError

MEMORY = 256 * 2**20
SECONDS = 10  # longer is a hang
LARGEST = 2**16  # bytes of an input
MOST_CRASHES = 20  # of a reader, before the next has its turn
NUMBERS = [0, 1, 2, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
OURS = tuple(str(Path(__file__).resolve().parents[1] / name) for name in ("mdflow", "teachers"))


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
