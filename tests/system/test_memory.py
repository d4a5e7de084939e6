"""Memory that was freed is used again, in huge pages, and old objects are no garbage."""

import subprocess
import sys
from pathlib import Path

import pytest

from mdflow.system import memory
from mdflow.system.memory import ask_for_huge_pages, keep_pages

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

FLAGS = """
import torch
from pathlib import Path
from mdflow.system.memory import keep_pages

{first}
numbers = torch.ones(2**24)
middle = numbers.data_ptr() + 2**25
for line in Path("/proc/self/smaps").read_text().splitlines():
    name, *rest = line.split()
    if "-" in name and not name.endswith(":"):
        inside = int(name.split("-")[0], 16) <= middle < int(name.split("-")[1], 16)
    elif name == "VmFlags:" and inside:
        print("hg" in rest)
"""

OLD = """
import gc
from mdflow.system.memory import keep_objects

before = len(gc.get_objects())
keep_objects()
new = []
new.append(new)
print(before, len(gc.get_objects()))
del new
print(gc.collect())
"""


def faults(first: str) -> int:
    """Page faults of eight tensors of 64 MB, one after the other, in a process of its own."""
    return int(printed(FAULTS.format(first=first)))


def printed(program: str) -> str:
    """What a program prints, in a process of its own."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(sys.platform != "linux", reason="another C library")
def test_pages_are_kept_when_asked_for():
    # With huge pages a fault maps 2 MB, with plain ones 4 kB: of 8 × 64 MB at least 256.
    assert faults("pass") > 200
    assert faults("assert keep_pages()") < 50


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="a system without huge pages")
def test_maps_lie_in_huge_pages_when_asked_for():
    assert printed(FLAGS.format(first="pass")).strip() == "False"
    assert printed(FLAGS.format(first="assert keep_pages()")).strip() == "True"


def test_addresses_that_count_as_memory_are_not_taken(monkeypatch, tmp_path):
    told = tmp_path / "overcommit_memory"
    told.write_text("2\n")
    monkeypatch.setattr(memory, "OVERCOMMIT", told)
    ask_for_huge_pages(object())  # which has no malloc


def test_old_objects_are_not_looked_through():
    """Those that there are already; new garbage is still found."""
    (before, after), (found,) = (map(int, line.split()) for line in printed(OLD).splitlines())
    assert after < before / 10 and found >= 1


def test_a_system_that_has_no_glibc_is_not_asked(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("Windows cannot open the process as a library"))
    monkeypatch.setattr("sys.platform", "win32")
    assert keep_pages() is False


def test_a_c_library_without_the_setting_is_left_as_it_is(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    assert keep_pages() is False
