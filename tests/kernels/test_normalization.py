import pytest
import torch
import torch.nn.functional as F

from mdflow.kernels.native import panel
from mdflow.kernels.normalization import affine_, statistics

needs_kernels = pytest.mark.skipif(panel() is None, reason="no kernels for this processor, or no compiler")
KINDS = [torch.float32, torch.bfloat16]
CHANNELS = [8, 24, 96]  # of which several pixels make a line, or one


def some_maps(kind, channels, count=1):
    """Maps of more than a block of pixels, far from zero, their channels last in memory."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(count, 2, channels, 19, 23, generator=generator) + 5 * torch.arange(channels).view(-1, 1, 1)
    return [one.to(kind).contiguous(memory_format=torch.channels_last) for one in maps]


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_channel_of_each_item_is_normalised(kind, channels, threads, on_threads):
    (x,) = some_maps(kind, channels)
    with on_threads(threads):
        scale, shift = statistics(x, 1e-5)
    found = x.double() * scale[..., None, None] + shift[..., None, None]
    torch.testing.assert_close(found, F.instance_norm(x.double()), rtol=1e-4, atol=1e-4)


@needs_kernels
def test_variance_of_a_channel_far_from_zero_is_exact():
    """The mean of squares less the square of the mean would be off in the first digit."""
    x = 1000 + torch.randn(1, 8, 200, 200, generator=torch.Generator().manual_seed(0))
    scale, _ = statistics(x, 0.0)
    torch.testing.assert_close(scale.double(), x.double().var((2, 3), correction=0).rsqrt(), rtol=1e-5, atol=0)


@needs_kernels
@pytest.mark.parametrize("items", [1, 2])
@pytest.mark.parametrize("behind", ["nothing", "ReLU", "shortcut"])
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("kind", KINDS)
def test_result_takes_the_maps_place(kind, channels, behind, items, on_threads):
    x, shortcut = some_maps(kind, channels, 2)
    scale, shift = torch.randn(2, items, channels, generator=torch.Generator().manual_seed(1)).unbind()
    expected = x.double() * scale[..., None, None] + shift[..., None, None]
    expected = expected if behind == "nothing" else F.relu(expected)
    expected = F.relu(expected + shortcut.double()) if behind == "shortcut" else expected
    with on_threads(2):
        found = affine_(x, scale, shift, behind == "ReLU", shortcut if behind == "shortcut" else None)
    assert found.dtype == kind and found.data_ptr() == x.data_ptr()
    torch.testing.assert_close(found, expected.to(kind))


@needs_kernels
def test_map_whose_channels_are_first_stays():
    x, before = (some_maps(torch.float32, 24)[0].contiguous() for _ in range(2))
    affine_(x, -torch.ones(1, 24), torch.ones(1, 24))
    assert x.equal(before)


def test_shapes_alone_are_enough():
    x = torch.empty(2, 12, 5, 7, device="meta")
    scale, shift = statistics(x, 1e-5)
    assert scale.shape == shift.shape == (2, 12)
    assert affine_(x, scale, shift, shortcut=x).shape == x.shape


@needs_kernels
@pytest.mark.usefixtures("other_registers")
def test_the_other_width_of_registers_gives_the_same(on_threads):
    for kind in KINDS:
        test_each_channel_of_each_item_is_normalised(kind, 24, 2, on_threads)
        test_result_takes_the_maps_place(kind, 24, "shortcut", 2, on_threads)
