import pytest
import torch

from mdflow.errors import InputError
from mdflow.system import processor

CPU = torch.device("cpu")


def test_a_gpu_computes_in_bfloat16():
    assert processor.has_bfloat16(torch.device("cuda"))
    assert processor.fastest_precision(torch.device("cuda")) == "bfloat16"


@pytest.mark.parametrize(
    ("onednn", "supported", "unit", "precision"),
    [
        (True, True, True, "bfloat16"),
        (True, True, False, "float32"),
        (True, False, True, "float32"),
        (False, True, True, "float32"),
    ],
)
def test_a_processor_is_fastest_so_where_it_has_a_unit_for_it(monkeypatch, onednn, supported, unit, precision):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    monkeypatch.setattr(processor, "has_matrix_unit", lambda: unit)
    assert processor.has_bfloat16(CPU) == (onednn and supported)
    assert processor.fastest_precision(CPU) == precision


def test_on_others_it_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: False)
    with pytest.raises(InputError, match=r"does not compute in bfloat16 .* ask for the precision float32"):
        processor.require_bfloat16(CPU)
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: True)
    processor.require_bfloat16(CPU)
