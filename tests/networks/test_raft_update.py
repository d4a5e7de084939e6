import pytest
import torch

from mdflow.kernels.native import without_kernels
from mdflow.networks.raft_update import ConvGRU


def unit_and_maps():
    """A recurrent unit with the hidden state, the inputs and the context's share."""
    torch.manual_seed(0)
    unit = ConvGRU(hidden=24, inputs=20, context=8, kernel=(1, 5))
    return unit, torch.randn(2, 24, 9, 13), torch.randn(2, 20, 9, 13), unit.context(torch.randn(2, 8, 9, 13))


def test_next_state_is_that_of_one_convolution_over_everything():
    """As the paper writes it: state, inputs and context joined, gates without a share."""
    unit, hidden, inputs, share = unit_and_maps()
    with torch.no_grad():
        found = unit(hidden, inputs, share)
        update, reset = (unit.gates(torch.cat([hidden, inputs], 1)) + share[:, :48]).sigmoid().chunk(2, 1)
        wanted = (unit.candidate(torch.cat([reset * hidden, inputs], 1)) + share[:, 48:]).tanh()
    torch.testing.assert_close(found, (1 - update) * hidden + update * wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("half", [False, True])
def test_next_state_is_that_of_plain_operations(half):
    unit, hidden, inputs, share = unit_and_maps()
    kind = torch.bfloat16 if half else torch.float32
    maps = [each.detach().to(kind) for each in (hidden, inputs, share)]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = unit(*maps)
        with without_kernels():
            expected = unit(*maps)
    assert found.dtype == expected.dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=0.03 if half else 1e-5)


def test_gradient_reaches_state_inputs_and_context():
    unit, hidden, inputs, share = unit_and_maps()
    given = [each.detach().requires_grad_() for each in (hidden, inputs, share)]
    unit(*given).sum().backward()
    assert all(each.grad.abs().sum() > 0 for each in given)


def test_the_candidate_can_learn_alone():
    unit, hidden, inputs, share = unit_and_maps()
    unit.requires_grad_(False)
    unit.candidate.requires_grad_(True)
    unit(*(each.detach() for each in (hidden, inputs, share))).sum().backward()
    assert unit.candidate.weight.grad.abs().sum() > 0
