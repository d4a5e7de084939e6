"""torch.compile with what it compiled kept between processes."""

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from mdflow.errors import InputError
from mdflow.kernels.native import panel

SIZES = 1024  # of images for which one process may compile


def compiled(function: Callable) -> Callable:
    """`function` through torch.compile, one compilation for each size of its images.

    The first call takes about a minute on one core; a later process reads the result in some seconds from
    TORCHINDUCTOR_CACHE_DIR, by default ~/.cache/mdflow/compiled. Raises InputError without a C++ compiler.
    """
    compilers = shlex.split(os.environ.get("CXX", ""))[:1] or ["g++", "clang++"]
    if not any(shutil.which(name) for name in compilers):
        raise InputError(
            f"torch.compile needs a C++ compiler, and {' or '.join(compilers)} is not installed; "
            "install one, or leave --compile away."
        )
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path.home() / ".cache" / "mdflow" / "compiled"))
    panel()  # which the compiler could not load itself
    # It gives up silently after eight sizes, those of all networks counted together.
    torch._dynamo.config.recompile_limit = max(SIZES, torch._dynamo.config.recompile_limit)
    torch._dynamo.config.accumulated_recompile_limit = max(SIZES, torch._dynamo.config.accumulated_recompile_limit)
    return torch.compile(function, dynamic=False)
