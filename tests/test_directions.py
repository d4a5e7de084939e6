"""What is computed without PyTorch is what PyTorch computes."""

import numpy as np
import pytest
import torch

from mdflow import directions, geometry, occlusion


def flow_of(seed: int, size: tuple[int, int] = (23, 31), speed: float = 3.0) -> np.ndarray:
    """Smooth flow (H,W,2) that leaves the frame here and there."""
    coarse = torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(seed)) * speed
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic")[0].permute(1, 2, 0).contiguous().numpy()


def planes(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).permute(2, 0, 1)[None]


@pytest.mark.parametrize("seed", range(5))
def test_warping_is_that_of_geometry(seed):
    image, flow = flow_of(seed), flow_of(seed + 10, speed=20)
    expected = geometry.warp(planes(image), planes(flow))
    np.testing.assert_allclose(planes(directions.warp(image, flow)), expected, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_the_check_is_that_of_occlusion(seed):
    flow12 = flow_of(seed)
    flow21 = -flow12 + 0.3 * flow_of(seed + 10)
    expected = occlusion.forward_backward(planes(flow12), planes(flow21))[0, 0].numpy() > 0.5
    found = directions.checked(flow12, flow21)
    assert 0.02 < found.visible1.mean() < 0.98
    assert np.array_equal(found.visible1, expected)
    assert np.array_equal(found.visible2, directions.forward_backward(flow21, flow12))


def test_flow_that_is_no_number_is_not_visible():
    flow12, flow21 = np.zeros((2, 6, 7, 2), np.float32)
    flow12[2, 3] = np.nan
    visible = directions.forward_backward(flow12, flow21)
    assert not visible[2, 3] and visible.sum() == 6 * 7 - 1
