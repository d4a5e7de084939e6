"""What the soak looks at and concludes; the soak itself takes hours (benchmarks/soak.py)."""

import os
import random
import subprocess
import sys

import pytest
import torch

from benchmarks.soak import STEPS, finished, growth, held, members, outcome, reached, summary, wait_for_orphans
from mdflow.runs.folder import RunFolder


def lines(rise: float) -> list[dict]:
    """Ten lives of ten minutes; memory rises by so many MB an hour within each, and jumps while it warms up."""
    chance = random.Random(0)
    return [
        {"life": life, "age": age, "time": 600 * life + age, "stage": "round1_student", "workers": 100.0, "files": 9}
        | {"memory": 500 + 20 * (life % 3) + rise * age / 3600 + 200 * (age > 90) + chance.gauss(0, 1)}
        for life in range(10)
        for age in range(30, 1200, 30)
    ]


@pytest.mark.parametrize(("rise", "word"), [(0, "yes"), (60, "NO")])
def test_a_leak_is_told_from_noise_and_from_warming_up(rise, word):
    slope, error = growth(lines(rise), "memory")
    assert abs(slope - rise) < 3 * error < 12
    table = summary(lines(rise)).splitlines()
    assert "10 lives, 390 lines" in table[0]
    assert next(line for line in table if line.startswith("memory of the training")).split()[-1] == word
    assert next(line for line in table if line.startswith("open files")).split()[-1] == "yes"


def test_what_the_processes_of_a_session_hold_is_counted_and_those_left_over_are_found():
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, start_new_session=True)
    while len(members(process.pid)) < 2:
        assert process.poll() is None
    seen = held(process.pid)
    assert seen["processes"] == 2 and seen["memory"] > 1 and seen["files"] >= 6
    os.kill(process.pid, 9)
    process.wait()
    with pytest.raises(SystemExit, match="outlive the training"):
        wait_for_orphans(process.pid, patience=0)
    process.stdin.close()
    wait_for_orphans(process.pid)
    assert held(process.pid)["processes"] == 0


def test_stages_are_compared_by_weights_and_log(tmp_path):
    for name, value in (("one", 1.0), ("same", 1.0), ("other", 2.0)):
        (tmp_path / name).mkdir()
        folder = RunFolder(tmp_path / name)
        weights = {"weight": torch.full((2,), value)}
        folder.save({"step": STEPS, "learner": weights, "average": weights}, "last_round1_student")
        folder.save({"step": STEPS - 1, "learner": weights, "average": weights}, "last_round1_teacher")
        folder.log("round1_student", 2, {"loss": 1.0})
    assert reached(tmp_path / "one") == {"stage": "round1_student", "step": 2}
    assert finished(tmp_path / "one") == ["round1_student"]
    one, same, other = (outcome(tmp_path / name, "round1_student") for name in ("one", "same", "other"))
    assert one == same != other
