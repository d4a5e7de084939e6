import json

import pytest

from mdflow.errors import InputError
from mdflow.runs.history import read_metrics


def test_figures_by_stage_and_step_and_the_last_of_two_counts(tmp_path):
    rows = [
        {"stage": "a", "step": 0, "loss": 3.0},
        {"stage": "a", "step": 20, "loss": 9.0},
        {"stage": "a/held-out", "step": 20, "score": 1.0},
        {"stage": "a", "step": 20, "loss": 2.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected = {"a": {0: {"loss": 3.0}, 20: {"loss": 2.0}}, "a/held-out": {20: {"score": 1.0}}}
    assert read_metrics(tmp_path) == expected


def test_what_is_no_run_is_said(tmp_path):
    with pytest.raises(InputError, match="is no run folder"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("[1, 2]\n")
    with pytest.raises(InputError, match="not what a run writes"):
        read_metrics(tmp_path)
