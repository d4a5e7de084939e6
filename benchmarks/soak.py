"""Kill and resume a distillation for hours: do memory and open files stay flat, do its weights come out the same?

python -m benchmarks.soak -o FOLDER [--hours 3] [--seed 0] [--data SOURCE ...] [--picture docs/soak.png]

A process lives at most half an hour, most of them less than ten minutes, then it is killed (SIGKILL) and another one
resumes. Every half minute a line of JSON goes to FOLDER/soak.jsonl: memory of the process and of its loader workers,
open files, stage and step. At the end the first rounds are run again without a kill, and compared. What is in the
folder already is gone on from and counts: --hours 0 looks once more at what was seen.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

from benchmarks.small import SMALL, flags
from mdflow.reports.tables import text_table
from mdflow.runs.folder import read_checkpoint

mpl.use("Agg")
import matplotlib.pyplot as plt

EVERY = 30  # seconds between two lines
LONGEST = 30 * 60  # seconds that a process lives
WARM_UP = 300  # seconds after which memory is expected to be flat
STEPS = 300  # of a stage
COMPARED = 2  # rounds that are run again undisturbed
SETTINGS = SMALL | {
    "steps": STEPS,
    "batch_size": 2,
    "score_pairs": 2,
    "score_every": 100,
    "checkpoint_every": 50,
    "keep": 1,
    "data.workers": 1,
    "student.name": "raft_small",
    "student.options": {"iterations": 2},
    "data.synthetic.length": 200,
}
KINDS = {"memory": "memory of the training, MB", "workers": "memory of its workers, MB", "files": "open files"}

Line = dict[str, float]


def main() -> None:
    """Soak, compare, print one table, draw one picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", nargs="+", default=["synthetic"])
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    record = arguments.out / "soak.jsonl"
    soak(arguments.out / "killed", arguments.data, arguments.hours * 3600, random.Random(arguments.seed), record)
    undisturbed = start(arguments.out / "undisturbed", arguments.data, COMPARED)
    if undisturbed.wait():
        raise SystemExit("The undisturbed run failed.")
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    print(summary(lines))
    folders = arguments.out / "killed", arguments.out / "undisturbed"
    common = [stage for stage in finished(folders[0]) if stage in finished(folders[1])]
    differing = [stage for stage in common if outcome(folders[0], stage) != outcome(folders[1], stage)]
    print(f"{len(common)} stages compared with an undisturbed run, other there: {', '.join(differing) or 'none'}")
    if arguments.picture:
        draw(lines, arguments.picture)


def soak(folder: Path, data: Sequence[str], seconds: float, chance: random.Random, record: Path) -> None:
    """Run, kill and resume a distillation for so long, and write down what its processes hold."""
    before = json.loads(record.read_text().splitlines()[-1]) if record.exists() else {"life": -1, "time": 0}
    begin = time.monotonic() - before["time"]
    life = before["life"] + 1
    while (left := begin + seconds - time.monotonic()) > 0:
        process = start(folder, data, rounds=100_000)
        born = time.monotonic()
        death = born + min(LONGEST * chance.random() ** 2, left)
        while time.monotonic() < death:
            time.sleep(max(min(EVERY, death - time.monotonic()), 0))
            if process.poll() is not None:
                raise SystemExit(f"The distillation ended by itself with status {process.returncode}.")
            seen = {"life": life, "age": time.monotonic() - born, "time": time.monotonic() - begin}
            with record.open("a") as file:
                file.write(json.dumps(seen | held(process.pid) | reached(folder)) + "\n")
        process.kill()
        process.wait()
        wait_for_orphans(process.pid)
        life += 1


def start(folder: Path, data: Sequence[str], rounds: int) -> subprocess.Popen:
    """A distillation in a session of its own, begun or resumed."""
    settings = flags(SETTINGS | {"rounds": rounds})
    command = [sys.executable, "-m", "mdflow", "distill", "--data", *data, *settings, "-o", str(folder), "--resume"]
    with folder.with_suffix(".log").open("a") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)


def held(session: int) -> Line:
    """What the processes of a session hold: memory of the first and of the others (MB), open files of all."""
    processes = members(session)
    return {
        "memory": status(session, "VmRSS"),
        "peak": status(session, "VmHWM"),
        "workers": sum(status(one, "VmRSS") for one in processes if one != session),
        "processes": len(processes),
        "files": sum(open_files(one) for one in processes),
    }


def members(session: int) -> list[int]:
    """The living processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def status(process: int, name: str) -> float:
    """A size from /proc/PID/status, MB; 0 of a process that has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return int(text.partition(f"{name}:")[2].split()[0]) / 1024


def open_files(process: int) -> int:
    """How many file descriptors a process has; 0 if it has ended."""
    try:
        return len(list(Path(f"/proc/{process}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def reached(folder: Path) -> dict[str, str | int]:
    """Stage and step of the last loss that a run has logged."""
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text().splitlines()[-3:] if metrics.exists() else []
    losses = [json.loads(line) for line in lines if line.endswith("}") and "/held-out" not in line]
    return {"stage": losses[-1]["stage"], "step": losses[-1]["step"]} if losses else {"stage": "", "step": 0}


def wait_for_orphans(session: int, patience: float = 300) -> None:
    """Until the workers of a killed process have ended too; SystemExit if they do not."""
    end = time.monotonic() + patience
    while left := members(session):
        if time.monotonic() > end:
            raise SystemExit(f"Processes outlive the training that was killed: {left}.")
        time.sleep(0.5)


def growth(lines: Sequence[Line], kind: str) -> tuple[float, float]:
    """By how much a figure grows in an hour within a life, its first minutes left out, and the standard error of that.

    One slope for all lives, each with a level of its own. A line is close to the one before it, so what is left over
    is taken by life, not by line, for the error.
    """
    lives = [
        [line for line in lines if line["life"] == life and line["age"] > WARM_UP]
        for life in sorted({line["life"] for line in lines})
    ]
    ages = [np.array([line["age"] / 3600 for line in life]) for life in lives if len(life) > 1]
    values = [np.array([line[kind] for line in life]) for life in lives if len(life) > 1]
    ages = [age - age.mean() for age in ages]
    spread = sum(float(age @ age) for age in ages)
    slope = sum(float(age @ value) for age, value in zip(ages, values, strict=True)) / spread
    rest = [float(age @ (value - value.mean() - slope * age)) for age, value in zip(ages, values, strict=True)]
    return slope, float(np.sqrt(sum(one**2 for one in rest))) / spread


def summary(lines: Sequence[Line]) -> str:
    """What was seen, as a table: flat is a slope within two standard errors of none, or under 1 % an hour."""
    lives = {line["life"] for line in lines}
    rows = []
    for kind, title in KINDS.items():
        warm = [line[kind] for line in lines if line["age"] > WARM_UP]
        slope, error = growth(lines, kind)
        flat = abs(slope) < 2 * error or abs(slope) < 0.01 * float(np.median(warm))
        figures = [f"{np.median(warm):.0f}", f"{max(warm):.0f}", f"{slope:+.1f} ± {error:.1f}", "yes" if flat else "NO"]
        rows.append([title, *figures])
    hours = max(line["time"] for line in lines) / 3600
    told = f"{hours:.2f} hours, {len(lives)} lives, {len(lines)} lines, at last in {lines[-1]['stage']}"
    return f"{told}\n{text_table(['', 'median', 'most', 'growth an hour', 'flat'], rows, left=1)}"


def finished(folder: Path) -> list[str]:
    """The stages of a run whose last checkpoint has seen all steps."""
    states = {path.name: read_checkpoint(path) for path in sorted(folder.glob("checkpoints/last_*"))}
    return [name.removeprefix("last_") for name, state in states.items() if state and state["step"] == STEPS]


def outcome(folder: Path, stage: str) -> tuple[dict[str, bytes], list[str]]:
    """The weights in a stage's last checkpoint, learner and average, and its lines of the log."""
    state = read_checkpoint(folder / "checkpoints" / f"last_{stage}")
    weights = {
        f"{owner}.{name}": bytes(value.contiguous().flatten().view(torch.uint8).numpy())
        for owner in ("learner", "average")
        for name, value in state[owner].items()
    }
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return weights, [line for line in lines if json.loads(line)["stage"].partition("/")[0] == stage]


def draw(lines: Sequence[Line], path: Path) -> None:
    """Memory and open files against the time, a kill wherever a line breaks off."""
    figure, panels = plt.subplots(3, 1, figsize=(7.5, 5.5), sharex=True, layout="constrained")
    for panel, (kind, title) in zip(panels, KINDS.items(), strict=True):
        for life in sorted({line["life"] for line in lines}):
            own = [line for line in lines if line["life"] == life]
            panel.plot([line["time"] / 60 for line in own], [line[kind] for line in own], ".-", ms=3, color="#2563eb")
        panel.set_title(title, fontsize=9)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[-1].set_xlabel("minutes; each line is the life of one process, killed at its end")
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
