"""Kernels in C++, compiled once for this processor and kept between processes."""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from mdflow.errors import InputError

SOURCES = Path(__file__).with_name("cpp")
FLAGS = {"AVX2": ["-mavx2", "-mfma"], "AVX512": ["-mavx512f", "-mfma"]}  # by what PyTorch finds of the processor
MATRIX_FLAGS = ["-mavx512bw", "-mavx512vl", "-mavx512bf16", "-mamx-tile", "-mamx-bf16"]  # and with a matrix unit
known_panel: int | None = None  # set by `panel`
known_unit = False  # set by `panel` too
allowed = True  # set by `without_kernels`
PIECE = 32  # channels that the kernels of costs take at once
OPTIONS = ["-O3", "-std=c++17", "-fopenmp", "-shared", "-fPIC"]


@functools.cache
def native_library(folder: Path = SOURCES) -> ctypes.CDLL | None:
    """The library of a folder's .cpp files; None where there is no compiler, or no kernel for the processor.

    The first call on a machine compiles it, in some seconds, to ~/.cache/mdflow/native, with $CXX or g++. A compiler
    that fails, or that $CXX names and is not there, is a warning: what the kernels do is then left to PyTorch.
    """
    compiler, flags = compiler_command(), FLAGS.get(torch.backends.cpu.get_cpu_capability())
    if compiler is None or flags is None or platform.system() != "Linux":
        return None
    matrix = MATRIX_FLAGS if torch.cpu._init_amx() else []  # which asks the system for its tiles, too
    command, files = [*compiler, *OPTIONS, *flags, *matrix], sorted(folder.iterdir())
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


def compiler_command() -> list[str] | None:
    """$CXX, which may have arguments of its own ("ccache g++"), or g++; None where there is no such program."""
    words = shlex.split(os.environ.get("CXX", "")) or ["g++"]
    program = shutil.which(words[0])
    if program is None and "CXX" in os.environ:
        warnings.warn(f"CXX={os.environ['CXX']} is no program, so PyTorch's slower way is taken.", stacklevel=2)
    return program and [program, *words[1:]]


def compile_library(command: list[str], sources: list[str], library: Path) -> None:
    """Compile under a name of its own first, so that no other process sees half of it."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        subprocess.run([*command, *sources, "-o", str(made)], check=True, capture_output=True, text=True)
        made.replace(library)


@contextmanager
def without_kernels() -> Iterator[None]:
    """Within, everything is computed by PyTorch's own operations."""
    global allowed
    before, allowed = allowed, False
    try:
        yield
    finally:
        allowed = before


def panel() -> int | None:
    """Numbers that the kernels sum at once, in two registers of the processor; None where there are no kernels.

    The compiler cannot load a library: what it compiles after a first call from elsewhere has the kernels.
    """
    global known_panel, known_unit
    if known_panel is None and not torch.compiler.is_compiling():
        library = native_library()
        known_panel, known_unit = library and library.panel(), bool(library and library.has_matrix_unit())
    return known_panel if allowed else None


def has_matrix_kernels() -> bool:
    """Whether there are kernels for the matrix unit of this processor."""
    return panel() is not None and known_unit


def asks_matrix_unit() -> bool:
    """Whether autocast is to bfloat16 and there are kernels for the matrix unit."""
    half = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return half and has_matrix_kernels()


def runs_native(*maps: Tensor) -> bool:
    """Whether kernels for float32 and bfloat16 can be had for such maps."""
    if torch.compiler.is_exporting() or panel() is None:
        return False
    return all(each.device.type == "cpu" and each.dtype in (torch.float32, torch.bfloat16) for each in maps)


def computes(*maps: Tensor) -> bool:
    """Whether kernels without a gradient can be had for such maps, all of one kind."""
    if torch.is_grad_enabled() and any(each.requires_grad for each in maps):
        return False
    return runs_native(*maps) and len({each.dtype for each in maps}) == 1


def require_one_shape(map1: Tensor, map2: Tensor) -> None:
    """Raise InputError unless two maps have one shape, on which kernels rely: they would read beyond the smaller."""
    if not torch.compiler.is_exporting() and map1.shape != map2.shape:
        raise InputError(f"Both maps must have one shape, got {tuple(map1.shape)} and {tuple(map2.shape)}.")


def are_half(*maps: Tensor) -> list[bool]:
    """Which of the maps are bfloat16."""
    return [each.dtype == torch.bfloat16 for each in maps]


def map_sizes(maps: Tensor) -> list[int]:
    """Of maps (B,C,h,w), channels last in memory, the items, the pixels of each and the channels of those."""
    batch, channels, height, width = maps.shape
    return [batch, height * width, channels]


def channels_last(maps: Tensor) -> Tensor:
    """The maps, their channels last in memory."""
    return maps.contiguous(memory_format=torch.channels_last)


def call(function: str, tensors: list[Tensor | None], sizes: list[int], *flags: int | float) -> None:
    """A function of the library, on as many threads as PyTorch takes; flags that are numbers of C's type float too."""
    pointers = [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]
    flags = [ctypes.c_float(flag) if isinstance(flag, float) else flag for flag in flags]
    getattr(native_library(), function)(*pointers, *map(ctypes.c_long, sizes), *flags, torch.get_num_threads())
