import gc

import torch

from mdflow.kernels.kept import made, once


def test_made_once_for_each_version():
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
    """A change of a tensor of the inference mode cannot be seen."""
    with torch.inference_mode():
        weight = torch.ones(3)
        once(weight, "double", lambda: 2 * weight)
        weight.add_(1)
        assert torch.equal(once(weight, "double", lambda: 2 * weight), torch.full((3,), 4.0))
