"""Threads that wait leave their cores to others."""

import os
import re
import subprocess
import sys

import pytest

from mdflow.system.threads import wait_asleep

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.mark.skipif(sys.platform != "linux", reason="another OpenMP")
def test_every_command_asks_before_torch_loads_openmp():
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, "-m", "mdflow", "networks"],
        capture_output=True,
        text=True,
        check=True,
        env={**environment, "OMP_DISPLAY_ENV": "verbose"},  # OpenMP says what it goes by as it starts
    )
    assert set(re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)) == {"1000"}


@pytest.mark.parametrize("name", NAMES)
def test_what_the_environment_says_is_left(monkeypatch, name):
    for each in NAMES:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, "7")
    wait_asleep()
    assert {os.environ.get(each) for each in NAMES} == {"7", None}
