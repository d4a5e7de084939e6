import pytest
import torch

from mdflow.errors import InputError
from mdflow.networks import create


def test_one_value_cannot_be_normalised():
    network = create("lightflow").train()
    with pytest.raises(InputError, match=r"LightFlow normalises over the batch: .* larger --size or --batch-size"):
        network(*torch.rand(2, 1, 3, 64, 64))
    assert network.eval()(*torch.rand(2, 1, 3, 64, 64))[-1].shape == (1, 2, 64, 64)
