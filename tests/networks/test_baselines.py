import pytest
import torch

from mdflow.errors import InputError
from mdflow.networks import create


def test_zero_flow_is_zero():
    assert (create("zero")(*torch.rand(2, 1, 3, 7, 9))[-1] == torch.zeros(1, 2, 7, 9)).all()


def test_dis_finds_a_shift_with_its_sign():
    generator = torch.Generator().manual_seed(0)
    texture = torch.nn.functional.interpolate(torch.rand(1, 3, 12, 16, generator=generator), (96, 128), mode="bicubic")
    image1, image2 = texture[..., :-2, 3:].clamp(0, 1), texture[..., 2:, :-3].clamp(0, 1)
    flow = create("dis")(image1, image2)[-1]
    centre = flow[..., 20:-20, 20:-20].mean((0, 2, 3))
    torch.testing.assert_close(centre, torch.tensor([3.0, -2.0]), atol=0.3, rtol=0)


@pytest.mark.parametrize("size", [(10, 40), (12, 12), (15, 300)])
def test_images_without_room_for_a_patch_are_said(size):
    with pytest.raises(InputError, match=f"{size[0]}x{size[1]} pixels are too small for DIS flow; it needs 16 a side"):
        create("dis")(*torch.rand(2, 1, 3, *size))


@pytest.mark.parametrize("size", [(16, 300), (300, 16)])
def test_the_smallest_images_have_a_flow(size):
    assert create("dis")(*torch.rand(2, 1, 3, *size))[-1].isfinite().all()
