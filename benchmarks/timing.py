"""What the timings share: ways that take turns, so that a noisy machine slows all of them alike."""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mdflow.reports.tables import text_table
from mdflow.system.memory import keep_objects, keep_pages

Ways = dict[str, Callable[[], object]]


def add_options(parser: argparse.ArgumentParser, runs: int) -> None:
    """What every timing on a CPU can be told."""
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--keep-pages", action="store_true", help="freed memory is kept, as the commands have it, but for the peaks"
    )


def prepare(arguments: argparse.Namespace) -> None:
    """Memory and threads as the options say, and one seed."""
    if arguments.keep_pages:
        keep_pages()
        keep_objects()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)


def machine() -> str:
    """The processor, torch and threads of this run."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    return f"{processor}, {os.cpu_count()} cores; torch {torch.__version__}, {torch.get_num_threads()} threads"


def take_turns(ways: Ways, runs: int) -> dict[str, list[float]]:
    """Milliseconds of each way, `runs` rounds in which each has one turn of two calls; the second one counts.

    As in a training, or on a video, where each call follows one of its kind: the first one finds the memory and the
    caches as another way left them, and cores asleep that this one did not use, which a virtual machine wakes in
    milliseconds.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(runs):
        for name, way in ways.items():
            way()
            finish()
            start = time.perf_counter()
            way()
            finish()
            times[name].append(1000 * (time.perf_counter() - start))
    return times


def finish() -> None:
    """Wait for what a GPU has still to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def rows(times: dict[str, list[float]], yardstick: str) -> list[list[str]]:
    """Name, "median (fastest to slowest)" in ms, and how many times as fast as the yardstick: median of the rounds."""
    lines = []
    for name, found in times.items():
        ratio = statistics.median(base / own for base, own in zip(times[yardstick], found, strict=True))
        spread = f"{statistics.median(found):.1f} ({min(found):.1f} to {max(found):.1f})"
        lines.append([name, spread, f"{ratio:.1f}x"])
    return lines


def print_times(title: str, ways: Ways, runs: int, yardstick: str) -> dict[str, list[float]]:
    """Time the ways by turns and print their table; the milliseconds."""
    times = take_turns(ways, runs)
    print(f"\n{title}")
    print(text_table(["how", "ms", "against the first"], rows(times, yardstick), left=1))
    return times


def peak_of(script: str, name: str) -> float:
    """Peak memory in MB of `python -m script --only NAME`, which runs one way once in a process of its own."""
    found = subprocess.run([sys.executable, "-m", script, "--only", name], capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1])


def print_peaks(script: str, ways: Ways, title: str = "") -> None:
    """Print what each way of a script takes beyond an idle process."""
    idle = peak_of(script, "nothing")
    for name in ways:
        print(f"{name}{title}: {peak_of(script, name) - idle:.0f} MB at most")


def run_alone(name: str, ways: Ways) -> None:
    """Run the way of that name, if there is one, and print this process' own peak memory in MB.

    getrusage would count that of the process that started it.
    """
    if name in ways:
        ways[name]()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(float(status["VmHWM"].split()[0]) / 1024)
