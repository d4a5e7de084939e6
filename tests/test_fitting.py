import pytest
import torch

from mdflow.errors import InputError
from mdflow.fitting import FITS, pad, pad_bottom, resize


@pytest.mark.parametrize("way", FITS)
@pytest.mark.parametrize("size", [(64, 128), (61, 131), (3, 5), (1, 200)])
def test_every_fit_meets_the_stride_and_returns_the_size(way, size):
    fit = FITS[way](size, 64)
    image = fit.apply(torch.rand(2, 3, *size))
    assert image.shape[-2] % 64 == image.shape[-1] % 64 == 0
    assert fit.undo(torch.zeros(2, 2, *image.shape[-2:])).shape == (2, 2, *size)


def test_padding_surrounds_the_frame_and_repeats_its_border():
    image = torch.arange(6.0).view(1, 1, 2, 3)
    padded = pad((2, 3), 4).apply(image)
    assert padded[0, 0].tolist() == [[0, 1, 2, 2], [0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5]]
    below = pad_bottom((2, 3), 4).apply(image)
    assert below[0, 0].tolist() == [[0, 1, 2, 2], [3, 4, 5, 5], [3, 4, 5, 5], [3, 4, 5, 5]]


@pytest.mark.parametrize("way", ["pad", "pad-bottom"])
def test_padding_is_undone_exactly(way):
    flow = torch.rand(1, 2, 21, 37)
    fit = FITS[way]((21, 37), 16)
    assert torch.equal(fit.undo(fit.apply(flow)), flow)


@pytest.mark.parametrize("way", ["resize", "own"])
def test_resizing_scales_the_flow_with_the_grid(way):
    fit = FITS[way]((50, 100), 64)
    height, width = fit.inner
    flow = torch.tensor([width / 10, height / 5]).view(1, 2, 1, 1)
    found = fit.undo(flow.expand(1, 2, *fit.apply(torch.zeros(1, 3, 50, 100)).shape[-2:]))
    torch.testing.assert_close(found, torch.full((1, 2, 50, 100), 10.0))


def test_a_frame_that_is_shrunk_is_averaged():
    """Stripes of one pixel at half the size are grey, not stripes of their own."""
    stripes = (torch.arange(130) % 2).float().expand(1, 3, 64, 130)
    small = FITS["resize"]((64, 130), 64, (64, 64)).apply(stripes)
    assert small[..., 4:-4].std() < 0.1


def test_resize_takes_the_nearest_multiples_or_the_given_size():
    assert resize((436, 1024), 64).inner == (448, 1024)
    assert resize((375, 1242), 64).inner == (384, 1216)
    assert resize((375, 1242), 64, (512, 1024)).inner == (512, 1024)


def test_resize_refuses_a_size_off_the_stride():
    with pytest.raises(InputError, match=r"450x1000 is no multiple of the network's stride 64.*512x1024"):
        resize((436, 1024), 64, (450, 1000))


def test_own_enlarges_small_frames_and_keeps_their_aspect():
    assert FITS["own"]((64, 128), 64).inner == (256, 512)
    assert FITS["own"]((300, 400), 64).inner == (300, 400)
    assert FITS["own"]((1, 2000), 64).inner == (4, 8000)


def test_own_pads_on_all_sides():
    fit = FITS["own"]((300, 401), 64)
    assert fit == FITS["pad"]((300, 401), 64)
    assert (fit.left, fit.right, fit.top, fit.bottom) == (23, 24, 10, 10)
