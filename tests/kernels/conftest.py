from contextlib import contextmanager

import pytest
import torch

from mdflow.kernels import native
from mdflow.kernels.kept import made


@pytest.fixture
def on_threads():
    """A block in which PyTorch has so many threads."""

    @contextmanager
    def block(count):
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return block


@pytest.fixture
def other_registers(monkeypatch, tmp_path):
    """The kernels for the other width of registers, and without a matrix unit.

    A processor with AVX-512 takes 16 numbers at once; the same sources are compiled so, for this one to imitate.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    wide = ["-D__AVX512F__"] if capability == "AVX2" else ["-mno-avx512f", "-U__AVX512F__"]
    monkeypatch.setitem(native.FLAGS, capability, [*native.FLAGS[capability], *wide])
    monkeypatch.setattr(native, "MATRIX_FLAGS", [])
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(native, "known_panel", None)
    monkeypatch.setattr(native, "known_unit", False)
    native.native_library.cache_clear()
    made.clear()
    assert native.panel() == (32 if capability == "AVX2" else 16)
    assert not native.has_matrix_kernels()
    yield
    monkeypatch.undo()
    native.native_library.cache_clear()
    made.clear()
