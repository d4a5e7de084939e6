"""What needs Triton, without a GPU: its interpreter runs the kernels' tests, its compiler compiles the kernels."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mdflow.correlation import backend, local_correlation, usual_backend
from mdflow.errors import InputError

KERNELS = {
    "triton_correlation": {"cost_tile", "gradient_tile"},
    "triton_census": {"distance_tile", "gradient_tile"},
}
# Each kernel of a file, for a small tile and a Hopper GPU: strides of channels-last maps, three displacements.
COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
import mdflow.kernels.{file} as kernels

STRIDES = ("i32", "constexpr", "i32", "i32")
known = dict(CHANNELS=3, BLOCK=4, TILE_HEIGHT=8, TILE_WIDTH=8, ROWS=(0, 1, -2), COLUMNS=(2, 0, -1), SHIFTED=True)
known |= dict(RADIUS=1, SOFTNESS=0.81, TOLERANCE=0.1)
for name in ("cost_tile", "distance_tile", "gradient_tile"):
    kernel = getattr(kernels, name, None)
    if kernel is None:
        continue
    signature, constants = dict(), dict()
    for place, argument in enumerate(kernel.arg_names):
        if argument in known:
            signature[argument], constants[place,] = "constexpr", known[argument]
        elif "strides" in argument:
            signature[argument], constants[place, 1] = STRIDES, 1
        else:
            signature[argument] = "i32" if argument in ("height", "width") else "*fp32"
    assert compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 90, 32)).asm["cubin"]
    print(name)
"""
INTERPRETED = ("test_triton_correlation.py", "test_triton_census.py")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU runs these tests themselves")
def test_the_interpreter_runs_the_kernels():
    """In a process of its own: the variable counts when Triton and the kernels are imported."""
    pytest.importorskip("triton", reason="Triton is not installed")
    files = [str(Path(__file__).with_name(name)) for name in INTERPRETED]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("file", ["triton_correlation", "triton_census"])
def test_the_kernels_compile_for_a_gpu(file, tmp_path):
    """The interpreter takes what the compiler may refuse; its last step, ptxas, comes with Triton and needs no GPU."""
    pytest.importorskip("triton", reason="Triton is not installed")
    command = [sys.executable, "-c", COMPILE.format(file=file)]
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert set(done.stdout.split()) == KERNELS[file]


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
    assert usual_backend(SimpleNamespace(device=torch.device("cuda"))) == "plain"


def test_a_gpu_takes_triton_where_it_is(monkeypatch):
    monkeypatch.setattr("mdflow.correlation.HAS_TRITON", True)
    assert usual_backend(SimpleNamespace(device=torch.device("cuda"))) == "triton"
    assert usual_backend(torch.empty(1, 3, 8, 8)) == "tiled"
