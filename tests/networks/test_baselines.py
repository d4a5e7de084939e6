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


def test_images_without_room_for_a_patch_are_said():
    with pytest.raises(InputError, match="10x40 pixels are too small for DIS flow"):
        create("dis")(*torch.rand(2, 1, 3, 10, 40))
