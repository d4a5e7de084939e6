import pytest
import torch

from mdflow.kernels.gates import unit_gates, unit_state
from mdflow.kernels.native import panel

needs_kernels = pytest.mark.skipif(panel() is None, reason="no kernels for this processor, or no compiler")
SINGLE, HALF = torch.float32, torch.bfloat16
KINDS = [(SINGLE, SINGLE), (HALF, HALF), (HALF, SINGLE)]  # of the maps, and of the hidden state


def some_maps(kinds, *channels):
    """Maps of more than a block of pixels, the last one a state, with values where sigmoid and tanh bend and end."""
    generator = torch.Generator().manual_seed(0)
    maps = [8 * torch.randn(2, count, 9, 13, generator=generator) for count in channels]
    maps[0][0, 0, 0, :4] = torch.tensor([-1e4, -88.0, 88.0, 1e4])
    kind, state = kinds
    maps = [*(one.to(kind) for one in maps[:-1]), maps[-1].to(state)]
    return [one.contiguous(memory_format=torch.channels_last) for one in maps]


@needs_kernels
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kinds", KINDS)
def test_gates_open_and_the_reset_state_is_joined(kinds, threads, on_threads):
    gates, share, inputs, hidden = some_maps(kinds, 40, 60, 7, 20)
    with on_threads(threads):
        update, joint = unit_gates(gates, share, hidden, inputs)
    both = torch.sigmoid(gates.double() + share.double()[:, :40])
    torch.testing.assert_close(update, both[:, :20].to(kinds[0]))
    torch.testing.assert_close(joint, torch.cat([both[:, 20:] * hidden, inputs], dim=1).to(kinds[0]))
    assert joint.is_contiguous(memory_format=torch.channels_last)


@needs_kernels
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kinds", KINDS)
def test_state_goes_as_far_to_the_candidate_as_the_update_says(kinds, threads, on_threads):
    candidate, share, update, hidden = some_maps(kinds, 20, 60, 20, 20)
    update = update.sigmoid()
    with on_threads(threads):
        found = unit_state(candidate, share, update, hidden)
    wanted = torch.tanh(candidate.double() + share.double()[:, 40:])
    torch.testing.assert_close(found, torch.lerp(hidden.double(), wanted, update.double()).to(kinds[1]))


@needs_kernels
def test_what_is_not_a_number_stays_so():
    """A state that is lost must show."""
    gates, share, inputs, hidden = some_maps(KINDS[0], 40, 60, 7, 20)
    gates[0, 3, 4, 5] = torch.nan
    update, _ = unit_gates(gates, share, hidden, inputs)
    assert update.isnan().nonzero().tolist() == [[0, 3, 4, 5]]


def test_shapes_alone_are_enough():
    gates, share, hidden, inputs = (torch.empty(2, count, 5, 7, device="meta") for count in (24, 36, 12, 3))
    update, joint = unit_gates(gates, share, hidden, inputs)
    assert update.shape == hidden.shape and joint.shape == (2, 15, 5, 7)
    assert unit_state(update, share, update, hidden).shape == hidden.shape


@needs_kernels
@pytest.mark.usefixtures("other_registers")
def test_the_other_width_of_registers_gives_the_same(on_threads):
    for kinds in KINDS:
        test_gates_open_and_the_reset_state_is_joined(kinds, 3, on_threads)
        test_state_goes_as_far_to_the_candidate_as_the_update_says(kinds, 3, on_threads)
