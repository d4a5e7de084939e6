"""What a run wrote down: the figures in its metrics.jsonl."""

import json
from pathlib import Path

from mdflow.errors import InputError

Curve = dict[int, dict[str, float]]
"""Named figures by step."""


def read_metrics(path: Path) -> dict[str, Curve]:
    """What a run folder's metrics.jsonl holds, by stage, in order; of steps done twice (after a stop) the last.

    Raises InputError if there is no such file, or it holds something else.
    """
    found: dict[str, Curve] = {}
    try:
        for line in (path / "metrics.jsonl").read_text().splitlines():
            row = json.loads(line)
            found.setdefault(row.pop("stage"), {})[row.pop("step")] = row
    except OSError as error:
        raise InputError(f"'{path}' is no run folder: cannot read its metrics.jsonl ({error.strerror}).") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"'{path / 'metrics.jsonl'}' is not what a run writes; give another run folder.") from error
    return {stage: dict(sorted(curve.items())) for stage, curve in found.items()}
