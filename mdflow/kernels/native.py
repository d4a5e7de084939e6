"""Kernels in C++, compiled once for this processor and kept between processes."""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import torch

FLAGS = {"AVX2": ["-mavx2", "-mfma"], "AVX512": ["-mavx512f", "-mfma"]}  # by what PyTorch finds of the processor
OPTIONS = ["-O3", "-std=c++17", "-fopenmp", "-shared", "-fPIC"]


@functools.cache
def native_library(folder: Path) -> ctypes.CDLL | None:
    """The library of a folder's .cpp files; None where there is no compiler, or no kernel for the processor.

    The first call on a machine compiles it, in some seconds, to ~/.cache/mdflow/native, with $CXX or g++. A compiler
    that fails is a warning: what the kernels do is then left to PyTorch.
    """
    compiler, flags = shutil.which(os.environ.get("CXX", "g++")), FLAGS.get(torch.backends.cpu.get_cpu_capability())
    if compiler is None or flags is None or platform.system() != "Linux":
        return None
    command, files = [compiler, *OPTIONS, *flags], sorted(folder.iterdir())
    key = hashlib.sha256(b"".join(file.read_bytes() for file in files) + " ".join(command).encode()).hexdigest()[:16]
    library = Path.home() / ".cache" / "mdflow" / "native" / f"{folder.name}-{key}.so"
    try:
        if not library.exists():
            compile_library(command, [str(file) for file in files if file.suffix == ".cpp"], library)
        return ctypes.CDLL(str(library))
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        warnings.warn(f"{folder.name} could not be compiled, so PyTorch's slower way is taken: {said}", stacklevel=2)
        return None


def compile_library(command: list[str], sources: list[str], library: Path) -> None:
    """Compile under a name of its own first, so that no other process sees half of it."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        subprocess.run([*command, *sources, "-o", str(made)], check=True, capture_output=True, text=True)
        made.replace(library)
