"""The folder of a run: config, metrics, TensorBoard events, panels, checkpoints."""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch.utils.tensorboard import SummaryWriter

from mdflow.config import RunConfig, dump
from mdflow.data.io import write_image
from mdflow.errors import InputError


class RunFolder:
    """Where a run writes. Made by `open_run`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "panels").mkdir(parents=True, exist_ok=True)
        (path / "checkpoints").mkdir(exist_ok=True)
        self.events = SummaryWriter(str(path))

    def log(self, stage: str, step: int, figures: dict[str, float]) -> None:
        """Append figures to metrics.jsonl and TensorBoard."""
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"stage": stage, "step": step, **figures}) + "\n")
        for name, value in figures.items():
            self.events.add_scalar(f"{stage}/{name}", value, step)

    def picture(self, stage: str, step: int, panel: np.ndarray) -> None:
        """Keep a panel (H,W,3) uint8 as PNG and in TensorBoard."""
        write_image(self.path / "panels" / f"{stage}_{step:07d}.png", panel)
        self.events.add_image(f"{stage}/panel", panel, step, dataformats="HWC")

    def save(self, state: dict[str, Any], name: str = "last") -> None:
        """Write a checkpoint; the one before it stays until the new one is whole."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        path = self.path / "checkpoints" / name
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
                file.flush()
                os.fsync(file.fileno())
            if path.exists():
                path.replace(path.with_name(path.name + ".previous"))
            partial.replace(path)
        except OSError as error:
            raise InputError(f"Cannot write the checkpoint '{path}': {error.strerror}.") from error

    def restore(self, name: str = "last") -> dict[str, Any] | None:
        """The newest whole checkpoint, or None if there is none; a damaged one is passed over, and said.

        Raises InputError when all there are are damaged.
        """
        path = self.path / "checkpoints" / name
        found = [one for one in (path, path.with_name(path.name + ".previous")) if one.exists()]
        for candidate in found:
            content = candidate.read_bytes()
            if hashlib.sha256(content[32:]).digest() == content[:32]:
                return torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
            print(f"The checkpoint '{candidate}' is damaged; looking for the one before it.")
        if found:
            raise InputError(f"No checkpoint '{path}' is whole any more; use --overwrite to start anew.")
        return None


def open_run(config: RunConfig, resume: bool = False, overwrite: bool = False) -> RunFolder:
    """The run folder config.out, with the resolved config in it.

    Raises InputError if it holds a run already, unless it is to be resumed (with the same config) or overwritten.
    """
    path = config.out
    record = path / "config.yaml"
    if record.exists() and not (resume or overwrite):
        raise InputError(
            f"'{path}' holds a run already; use --resume to go on, --overwrite to start anew, or another -o."
        )
    if record.exists() and resume and (changed := differences(record, config)):
        raise InputError(f"'{path}' was started with other settings: {changed}; repeat the same command to resume.")
    if overwrite and not resume:
        for old in [
            *path.glob("checkpoints/*"),
            *path.glob("panels/*"),
            *path.glob("events.*"),
            path / "metrics.jsonl",
        ]:
            old.unlink(missing_ok=True)
    try:
        folder = RunFolder(path)
        record.write_text(dump(config))
    except OSError as error:
        raise InputError(f"Cannot write to '{path}': {error.strerror}.") from error
    return folder


def differences(record: Path, config: RunConfig) -> str:
    """Which settings differ from the recorded ones, "" if none do; the first few."""
    before = flat(yaml.safe_load(record.read_text()))
    now = flat(yaml.safe_load(dump(config)))
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    shown = [f"{key} {before.get(key)} -> {now.get(key)}" for key in changed[:3]]
    return ", ".join(shown + ([f"and {len(changed) - 3} more"] if len(changed) > 3 else []))


def flat(values: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A nested mapping with keys such as "data.frame"."""
    found = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found
