"""A machine that joins a training and one that leaves it: two launchers on this machine, one of which comes and goes.

python -m benchmarks.elastic -o FOLDER [--steps 60] [--end terminate|kill|freeze]

torchrun --nnodes 1:2 starts a pretraining alone; when it has done a few steps a second launcher joins, later it is
stopped, or with all its processes killed, as when a machine loses its power, or frozen, as when its network is cut: the
connections stay open and nobody answers. Printed is who trained from which step to which, how long the first launcher
took to go on without the second, and whether it ended well.
"""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.small import SMALL, flags
from mdflow.reports.tables import text_table

SETTINGS = SMALL | {"batch_size": 2, "score_every": 100_000, "checkpoint_every": 1, "network.name": "fastflownet"}
# What torch waits for those who may come, and until it takes a silent machine for gone; in seconds.
MEETING = "last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=3,join_timeout=300"
# torch 2.13's launcher says to no machine that joins later where its store is, unless each group has one of its own.
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
SHARE = 6  # a group is left in peace for a sixth of the steps
ENDS = {"terminate": signal.SIGTERM, "kill": signal.SIGKILL, "freeze": signal.SIGSTOP}


class Group(NamedTuple):
    """How many machines trained together, and the steps that were done when they began and when they ended."""

    machines: int
    begin: int
    end: int


def main() -> None:
    """Print one table, a row for each group that trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--end", choices=ENDS, default="terminate", help="how the second machine goes")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    port, steps = free_port(), arguments.steps
    first = launch("first", port, arguments.out, steps)
    wait_for(arguments.out / "first.log", 1, steps, first)
    second = launch("second", port, arguments.out, steps)
    wait_for(arguments.out / "first.log", 2, steps, first)
    gone = family(second.pid)[: 1 if arguments.end == "terminate" else None]
    for process in gone:
        os.kill(process, ENDS[arguments.end])
    left = time.monotonic()
    wait_for(arguments.out / "first.log", 3, steps, first)
    alone = time.monotonic() - left
    status = first.wait()
    if arguments.end == "freeze":
        for process in gone:
            os.kill(process, signal.SIGKILL)
    second.wait()
    rows = [
        [f"{number}", f"{one.machines}", f"{one.begin}", f"{one.end}"]
        for number, one in enumerate(groups((arguments.out / "first.log").read_text(), steps), start=1)
    ]
    print(text_table(["group", "machines", "from step", "to step"], rows, left=1))
    print(f"{alone:.0f} s after the second went the first had trained alone for a share of the steps")
    print(f"status {status}, network written: {(arguments.out / 'run' / 'network.safetensors').exists()}")


def launch(name: str, port: int, out: Path, steps: int) -> subprocess.Popen:
    """A launcher with one process, that trains or waits for the others; what it says goes to NAME.log."""
    meeting = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"localhost:{port}", "--rdzv-conf", MEETING]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "1:2", "--max-restarts", "3", *meeting]
    training = ["-m", "mdflow", "pretrain", *flags(SETTINGS | {"steps": steps}), "-o", str(out / "run"), "--resume"]
    with (out / f"{name}.log").open("w") as output:
        return subprocess.Popen(
            [*launcher, *training], env=os.environ | OWN_STORE | {"LOGLEVEL": "INFO"}, stdout=output, stderr=output
        )


def family(process: int) -> list[int]:
    """A process and all that it has started, itself first."""
    found = [process]
    for one in found:
        for task in Path(f"/proc/{one}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def groups(log: str, steps: int) -> list[Group]:
    """The groups that have trained, from what a launcher and its progress bar say."""
    found = []
    for part in log.split("group_world_size=")[1:]:
        done = [int(number) for number in re.findall(rf"(\d+)/{steps} \[", part)]
        if done:
            found.append(Group(int(re.match(r"\d+", part)[0]), done[0], done[-1]))
    return found


def wait_for(log: Path, number: int, steps: int, process: subprocess.Popen) -> None:
    """Until the group of that number has trained for a share of the steps; SystemExit if the training ends before."""
    while True:
        found = groups(log.read_text(), steps)
        if len(found) >= number and found[-1].end >= found[-1].begin + steps // SHARE:
            return
        if process.poll() is not None:
            raise SystemExit(f"The training ended before group {number} had trained; '{log}' says more.")
        time.sleep(0.5)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


if __name__ == "__main__":
    main()
