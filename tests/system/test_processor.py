import pytest
import torch

from mdflow.errors import InputError
from mdflow.system import processor

CPU = torch.device("cpu")


def test_a_gpu_computes_in_bfloat16():
    assert processor.has_bfloat16(torch.device("cuda"))
    assert processor.fastest_precision(torch.device("cuda")) == "bfloat16"


@pytest.mark.parametrize(
    ("onednn", "supported", "precision"), [(True, True, "bfloat16"), (True, False, "float32"), (False, True, "float32")]
)
def test_a_processor_does_where_onednn_has_kernels_for_it(monkeypatch, onednn, supported, precision):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: onednn)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert processor.fastest_precision(CPU) == precision


def test_on_others_it_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: False)
    with pytest.raises(InputError, match=r"does not compute in bfloat16 .* ask for the precision float32"):
        processor.require_bfloat16(CPU)
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: True)
    processor.require_bfloat16(CPU)
