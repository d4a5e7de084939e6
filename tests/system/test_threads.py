"""Threads that wait leave their cores to others."""

import os
import subprocess
import sys

import pytest

from mdflow.system.threads import wait_asleep

OPERATIONS = """
import os, time
from mdflow.system.threads import wait_asleep
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
FIRST
import torch
torch.set_num_threads(2)
x = torch.ones(200_000)
x.sin()
begin = time.process_time()
for _ in range(300):
    x.sin()
print(time.process_time() - begin)
"""


def seconds(first: str) -> float:
    """Of the processor for many short operations of two threads, while another process does the same on both cores."""
    ours = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_NUM_THREADS")}
    command = [sys.executable, "-c", OPERATIONS.replace("FIRST", first)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ours) for _ in range(2)]
    return sum(float(one.communicate(timeout=120)[0]) for one in both)


@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="another OpenMP, or threads of one core"
)
def test_two_processes_on_two_cores_do_not_hold_each_other_up():
    assert seconds("wait_asleep()") < 0.5 * seconds("pass")


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_what_the_environment_says_is_left(monkeypatch, name):
    for each in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "7")
    wait_asleep()
    assert {os.environ.get(each) for each in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} == {"7", None}
