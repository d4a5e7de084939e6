import pytest
import torch
import torch.nn.functional as F

from mdflow.kernels.mixing import convex_mix
from mdflow.kernels.native import panel

needs_kernels = pytest.mark.skipif(panel() is None, reason="no kernels for this processor, or no compiler")
KINDS = [torch.float32, torch.bfloat16]


def logits_and_flow(kind, factor):
    """Logits that leave some neighbours nothing, and a flow."""
    generator = torch.Generator().manual_seed(0)
    logits = 30 * torch.randn(2, 9 * factor**2, 7, 9, generator=generator)
    flow = 5 * torch.randn(2, 2, 7, 9, generator=generator)
    return logits.to(kind).contiguous(memory_format=torch.channels_last), flow


@needs_kernels
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("replicate", [False, True])
@pytest.mark.parametrize("factor", [3, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_each_fine_vector_is_a_mix_of_its_neighbours(kind, factor, replicate, threads, on_threads):
    logits, flow = logits_and_flow(kind, factor)
    weights = (0.25 * logits.double()).view(2, 1, 9, factor, factor, 7, 9).softmax(2)
    framed = F.pad(flow.double(), (1, 1, 1, 1), "replicate" if replicate else "constant")
    around = F.unfold(framed, 3).view(2, 2, 9, 1, 1, 7, 9)
    expected = (weights * around).sum(2).permute(0, 1, 4, 2, 5, 3).reshape(2, 2, 7 * factor, 9 * factor)
    with on_threads(threads):
        found = convex_mix(logits, flow, factor, 0.25, replicate)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@needs_kernels
def test_a_vector_that_is_nowhere_spoils_its_neighbours_alone():
    logits, flow = logits_and_flow(torch.float32, 2)
    flow[0, 1, 3, 4] = torch.nan
    lost = convex_mix(logits, flow, 2, 0.25, True).isnan()
    assert not lost[1].any() and not lost[0, 0].any()
    assert lost[0, 1].nonzero().aminmax(dim=0).min.tolist() == [4, 6] and lost[0, 1, 4:10, 6:12].all()
    assert lost.sum() == 36


def test_shapes_alone_are_enough():
    logits, flow = torch.empty(1, 36, 5, 7, device="meta"), torch.empty(1, 2, 5, 7, device="meta")
    assert convex_mix(logits, flow, 2, 0.25, False).shape == (1, 2, 10, 14)


@needs_kernels
@pytest.mark.usefixtures("other_registers")
def test_the_other_width_of_registers_gives_the_same(on_threads):
    for kind in KINDS:
        test_each_fine_vector_is_a_mix_of_its_neighbours(kind, 8, False, 3, on_threads)
