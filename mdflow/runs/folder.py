"""The folder of a run: config, metrics, TensorBoard events, panels, checkpoints."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.utils.tensorboard import SummaryWriter

from mdflow.checkpoint import fit_weights, read_network, save_network
from mdflow.config import RunConfig
from mdflow.data.io import write_image
from mdflow.errors import InputError
from mdflow.networks.network import FlowNetwork
from mdflow.settings import dump, read_yaml
from mdflow.system import ranks
from mdflow.system.pickled import read_pickled
from mdflow.system.storage import write_whole, writing

DIGEST = 32  # bytes of the SHA-256 that a checkpoint begins with


class RunFolder:
    """Where a run writes. Made by `open_run`. Of each checkpoint the last `keep` are kept.

    Only the first of several ranks writes; the others have an `Onlooker`.
    """

    writes = True

    def __init__(self, path: Path, keep: int = 2) -> None:
        self.path, self.keep = path, keep
        (path / "panels").mkdir(parents=True, exist_ok=True)
        (path / "checkpoints").mkdir(exist_ok=True)
        self.events = SummaryWriter(str(path))

    def log(self, stage: str, step: int, figures: dict[str, float]) -> None:
        """Append figures to metrics.jsonl and TensorBoard."""
        metrics = self.path / "metrics.jsonl"
        with writing(metrics):
            with metrics.open("a") as file:
                file.write(json.dumps({"stage": stage, "step": step, **figures}) + "\n")
            for name, value in figures.items():
                self.events.add_scalar(f"{stage}/{name}", value, step)

    def forget(self, stage: str, step: int) -> None:
        """Cut from metrics.jsonl what a stage logged after `step` steps were done, and a half line at the end.

        A run resumed at that step logs it again.
        """
        metrics = self.path / "metrics.jsonl"
        if not metrics.exists():
            return
        lines = metrics.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if logged_before(line, stage, step)]
        if kept != lines:
            write_whole(metrics, b"".join(kept))

    def picture(self, stage: str, step: int, panel: np.ndarray) -> None:
        """Keep a panel (H,W,3) uint8 as PNG and in TensorBoard."""
        write_image(self.path / "panels" / f"{stage}_{step:07d}.png", panel)
        self.events.add_image(f"{stage}/panel", panel, step, dataformats="HWC")

    def save(self, state: dict[str, Any], name: str = "last") -> None:
        """Write a checkpoint with its checksum; the ones before it stay until the new one is whole."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        path = self.path / "checkpoints" / name
        older = [path.with_name(f"{name}.previous{number if number > 1 else ''}") for number in range(1, self.keep)]
        write_whole(path, hashlib.sha256(content).digest() + content, older)

    def save_network(self, name: str, network: FlowNetwork) -> Path:
        """Write a network's weights to NAME.safetensors; where."""
        path = self.path / f"{name}.safetensors"
        save_network(path, network)
        return path

    def keep_start(self, **networks: FlowNetwork) -> None:
        """Keep the weights that networks start from; a resumed run takes those, not what --init gives by now.

        Shipped weights and files change, while anchors and labels (mdflow.pretrain) come from the start.
        """
        for name, network in networks.items():
            path = self.path / "checkpoints" / f"start_{name}.safetensors"
            kept = ranks.from_first(read_network(path)[-1] if self.writes and path.exists() else None)
            if kept is None:
                self.save_network(f"checkpoints/start_{name}", network)
            else:
                fit_weights(network, kept, path)

    def restore(self, name: str = "last") -> dict[str, Any] | None:
        """The newest whole checkpoint, or None if there is none; every rank gets what the first one finds."""
        return ranks.from_first(self.newest(name))

    def newest(self, name: str) -> dict[str, Any] | None:
        """The newest whole checkpoint in the folder; a damaged one is passed over, and said.

        Raises InputError when all there are are damaged.
        """
        path = self.path / "checkpoints" / name
        older = sorted(path.parent.glob(f"{name}.previous*"), key=lambda one: int("0" + one.name.rpartition("s")[2]))
        found = [one for one in (path, *older) if one.exists()]
        for candidate in found:
            state = read_checkpoint(candidate)
            if state is not None:
                return state
            print(f"The checkpoint '{candidate}' is damaged; looking for the one before it.")
        if found:
            raise InputError(f"No checkpoint '{path}' is whole any more; use --overwrite to start anew.")
        return None


class Onlooker(RunFolder):
    """The run folder for ranks that do not write: it need not be on their machine."""

    writes = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def log(self, stage: str, step: int, figures: dict[str, float]) -> None:
        """Nothing."""

    def forget(self, stage: str, step: int) -> None:
        """Nothing."""

    def picture(self, stage: str, step: int, panel: np.ndarray) -> None:
        """Nothing."""

    def save(self, state: dict[str, Any], name: str = "last") -> None:
        """Nothing."""

    def save_network(self, name: str, network: FlowNetwork) -> Path:
        """Nothing; where the first rank writes it."""
        return self.path / f"{name}.safetensors"

    def newest(self, name: str) -> None:
        """Nothing: the first rank looks."""


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """The state in a checkpoint, or None if it does not fit its checksum.

    Raises InputError for a stranger's that asks to run code.
    """
    content = path.read_bytes()
    if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        return None
    return read_pickled(content[DIGEST:], path)


def logged_before(line: bytes, stage: str, step: int) -> bool:
    """Whether a line of metrics.jsonl is whole and tells of what was done before `step` steps of a stage were.

    A loss is logged by the number of its step, an examination by how many steps were done.
    """
    try:
        record = json.loads(line)
        about, number = record["stage"], record["step"]
    except (ValueError, TypeError, KeyError):
        return False
    if about == stage:
        return number < step
    return about != f"{stage}/held-out" or number <= step


def open_run(config: RunConfig, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """The run folder config.out, with the resolved config in it.

    Raises InputError if it holds a run already, unless it is to be resumed (with the same config) or overwritten.
    What torchrun has restarted is resumed.
    """
    path = config.out
    if ranks.number() > 0:
        return Onlooker(path)
    resume = resume or ranks.restarted()
    check_run(config, resume, overwrite)
    with writing(path):
        if (overwrite and not resume) or ((path / "config.yaml").exists() and not begun(path)):
            clear(path)
        folder = RunFolder(path, config.keep)
    write_whole(path / "config.yaml", dump(config).encode())
    return folder


def check_run(config: RunConfig, resume: bool = False, overwrite: bool = False) -> None:
    """Raise open_run's InputError where it would; for a verb that has long work to do before."""
    path = config.out
    record = path / "config.yaml"
    if not (record.exists() and begun(path)):
        return
    if not (resume or overwrite):
        raise InputError(
            f"'{path}' holds a run already; use --resume to go on, --overwrite to start anew, or another -o."
        )
    if resume and (changed := differences(record, config)):
        raise InputError(f"'{path}' was started with other settings: {changed}; repeat the same command to resume.")


def clear(path: Path) -> None:
    """Remove what a run wrote, but for its results; what is somebody else's stays."""
    patterns = ("checkpoints/*", "panels/*", "bad_batches/*", "events.*", "metrics.jsonl", "left_out.txt")
    for old in [file for pattern in patterns for file in path.glob(pattern) if file.is_file()]:
        old.unlink(missing_ok=True)


def begun(path: Path) -> bool:
    """Whether a step was done in the run folder: a start that failed before leaves settings and weights alone."""
    learned = [file for file in path.glob("checkpoints/*") if not file.name.startswith("start_")]
    return bool(learned) or (path / "metrics.jsonl").exists()


def differences(record: Path, config: RunConfig) -> str:
    """Which settings differ from the recorded ones, "" if none do; the first few.

    A setting that the record does not know, because it is newer than the run, counts as its default. Where the folder
    lies does not matter: it may have been moved.
    """
    before = flat(yaml.safe_load(dump(type(config)()))) | flat(read_yaml(record))
    now = flat(yaml.safe_load(dump(config)))
    changed = [key for key in {**before, **now} if key != "out" and before.get(key) != now.get(key)]
    shown = [f"{key} {before.get(key)} -> {now.get(key)}" for key in changed[:3]]
    return ", ".join(shown + ([f"and {len(changed) - 3} more"] if len(changed) > 3 else []))


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A nested mapping with keys such as "data.frame"."""
    found = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found
