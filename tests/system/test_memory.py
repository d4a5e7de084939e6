"""Memory that was freed is used again."""

import subprocess
import sys

import pytest

from mdflow.system.memory import keep_pages

FAULTS = """
import resource
import torch
from mdflow.system.memory import keep_pages

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

{first}
faults(12)  # until the freed pieces have found each other
print(faults(8))
"""


def faults(first: str) -> int:
    """Page faults of eight tensors of 64 MB, one after the other, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS.format(first=first)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_pages_are_kept_when_asked_for():
    # With huge pages a fault maps 2 MB, with plain ones 4 kB: of 8 × 64 MB at least 256.
    assert faults("pass") > 200
    assert faults("assert keep_pages()") < 50


def test_a_system_that_has_no_glibc_is_not_asked(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("Windows cannot open the process as a library"))
    monkeypatch.setattr("sys.platform", "win32")
    assert keep_pages() is False


def test_a_c_library_without_the_setting_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert keep_pages() is False
