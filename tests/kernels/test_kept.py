import gc

import pytest
import torch

from mdflow.kernels.kept import made, once


def test_made_once_for_each_value():
    """Again only for changed weights, and for another result of the same."""
    weight, calls = torch.ones(3), []

    def make():
        calls.append(weight.sum().item())
        return 2 * weight

    first = once(weight, "double", make)
    assert once(weight, "double", make) is first and calls == [3]
    once(weight, "another", make)
    weight.add_(1)
    assert torch.equal(once(weight, "double", make), torch.full((3,), 4.0)) and calls == [3, 3, 6]


def write_data(weight: torch.nn.Parameter) -> None:
    weight.data.mul_(2)


def other_data(weight: torch.nn.Parameter) -> None:
    weight.data = 2 * weight.data


def fused_step(weight: torch.nn.Parameter) -> None:
    weight.grad = torch.ones_like(weight)
    torch.optim.AdamW([weight], lr=0.1, fused=True).step()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("change", [write_data, other_data, fused_step])
def test_made_again_of_weights_that_change_without_a_new_version(change, channels_last):
    weight = torch.nn.Parameter(torch.ones(4, 3, 3, 3))
    if channels_last:
        weight.data = weight.data.to(memory_format=torch.channels_last)
    assert torch.equal(once(weight, "double", lambda: 2 * weight.detach()), 2 * weight)
    change(weight)
    assert torch.equal(once(weight, "double", lambda: 2 * weight.detach()), 2 * weight)


def test_nothing_is_kept_of_what_is_gone():
    """Weights that nobody has any more take no memory."""
    before = len(made)
    weight = torch.ones(3)
    once(weight, "double", lambda: torch.ones(3))
    assert len(made) == before + 1
    del weight
    gc.collect()
    assert len(made) == before


def test_made_again_of_what_has_no_version():
    with torch.inference_mode():
        weight = torch.ones(3)
        once(weight, "double", lambda: 2 * weight)
        weight.add_(1)
        assert torch.equal(once(weight, "double", lambda: 2 * weight), torch.full((3,), 4.0))
