"""What needs Triton, without a GPU: its interpreter runs the kernels' tests, its compiler compiles the kernels."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mdflow.correlation import backend, local_correlation, usual_backend
from mdflow.errors import InputError

INTERPRETED = ("test_triton_correlation.py", "test_triton_census.py")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU runs these tests themselves")
def test_the_interpreter_runs_the_kernels():
    """In a process of its own: the variable counts when Triton and the kernels are imported."""
    pytest.importorskip("triton", reason="Triton is not installed")
    files = [str(Path(__file__).with_name(name)) for name in INTERPRETED]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_backend_says_so():
    pytest.importorskip("triton", reason="Triton is not installed")
    one = torch.zeros(1, 1, 2, 2)
    with backend("triton"), pytest.raises(InputError, match="needs a GPU, and the features are on cpu"):
        local_correlation(one, one, 1)


def test_without_triton_the_backend_says_so_and_is_not_the_usual_one(monkeypatch):
    monkeypatch.setattr("mdflow.correlation.HAS_TRITON", False)
    with pytest.raises(InputError, match="needs Triton"), backend("triton"):
        pass
    assert usual_backend(torch.device("cuda")) == "plain"


def test_a_gpu_takes_triton_where_it_is(monkeypatch):
    monkeypatch.setattr("mdflow.correlation.HAS_TRITON", True)
    assert usual_backend(torch.device("cuda")) == "triton"
    assert usual_backend(torch.device("cpu")) == "tiled"
