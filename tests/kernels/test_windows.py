import math

import pytest
import torch

from mdflow.geometry import coordinate_grid
from mdflow.kernels import native
from mdflow.kernels.windows import TALLEST, has_windows, pack, pack_windows, windows
from mdflow.networks.raft_correlation import AllPairs, halved

needs_kernels = pytest.mark.skipif(native.panel() is None, reason="no kernels for this processor, or no compiler")
CASES = [(2, 32, (22, 30)), (3, 64, (16, 19)), (4, 96, (17, 16)), (1, 32, (16, 21)), (8, 32, (40, 33))]


def maps_and_points(channels, size, double=False):
    """Two maps, and matches near one another, anywhere, at whole pixels, at the border and far outside."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, channels, *size, generator=generator).requires_grad_() for _ in range(2)]
    height, width = size
    points = coordinate_grid(height, width, torch.device("cpu")) + torch.rand(2, 2, height, width, generator=generator)
    points[0, :, : height // 2] = (width + 8) * torch.rand(2, height // 2, width, generator=generator) - 4
    points[1, :, ::3] = points[1, :, ::3].round()
    points[1, 0, -1, -1], points[1, 1, -1, 0] = 1e9, -1e9
    return maps, points


def results(costs_of, maps, points, radius):
    """Costs, and the gradients of the maps for some gradient of the costs."""
    costs = costs_of(*maps, points, radius)
    gradient = torch.randn(costs.shape, generator=torch.Generator().manual_seed(1)).to(costs)
    return [costs, *torch.autograd.grad(costs, maps, gradient)]


def rounded_maps(channels, size):
    """Scaled features and levels that bfloat16 holds as they are, and points."""
    maps, points = maps_and_points(channels, size)
    with torch.no_grad():
        rounded = [maps[0] / math.sqrt(channels), *halved(maps[1])]
    features1, *levels = [each.bfloat16().float() for each in rounded]
    return features1, levels, points


def half_costs(features1, levels, points, radius):
    """As on a matrix unit, which the kernel imitates where there is none."""
    return windows(features1, levels, points, radius, pack_windows(features1, levels))


def ours(features1, features2, points, radius):
    return windows(features1 / math.sqrt(features1.shape[1]), halved(features2), points, radius)


def half_of_ours(features1, features2, points, radius):
    return half_costs(features1 / math.sqrt(features1.shape[1]), halved(features2), points, radius)


@needs_kernels
@pytest.mark.parametrize(("radius", "channels", "size"), CASES)
def test_costs_and_gradients_are_those_of_all_pairs(radius, channels, size):
    maps, points = maps_and_points(channels, size)
    assert has_windows(maps[0], radius)
    found = results(ours, maps, points, radius)
    pairs = results(lambda a, b, p, r: AllPairs(a, b, r)(p), maps, points, radius)
    for one, expected in zip(found, pairs, strict=True):
        # float32 places a sample at x / size · size, so to a few millionths of the width.
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-4)


@needs_kernels
def test_a_whole_pixels_costs_are_inner_products_to_the_last_digits():
    (features1, features2), _ = maps_and_points(32, (12, 14))
    points = (coordinate_grid(12, 14, torch.device("cpu")) + 2).expand(2, -1, -1, -1)
    costs = windows(features1, [features2], points, 1)
    for index, (x, y) in {4: (2, 2), 7: (3, 2), 5: (2, 3), 0: (1, 1)}.items():  # of the 3×3 window, x along its rows
        exact = (features1[..., :8, :10].double() * features2[..., y : y + 8, x : x + 10].double()).sum(1)
        torch.testing.assert_close(costs[:, index, :8, :10].double(), exact, rtol=1e-5, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize(("radius", "channels", "size"), [case for case in CASES if case[0] <= TALLEST])
def test_the_matrix_units_costs_are_those_of_rounded_features(radius, channels, size):
    features1, levels, points = rounded_maps(channels, size)
    found, expected = (half_costs(features1, levels, points, radius), windows(features1, levels, points, radius))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_share_the_groups_of_neighbours(threads, on_threads):
    features1, levels, points = rounded_maps(64, (17, 21))
    expected = half_costs(features1, levels, points, 3)
    with on_threads(threads):
        assert half_costs(features1, levels, points, 3).equal(expected)


@needs_kernels
def test_half_precision_costs_are_near_those_of_float32_and_have_their_gradients():
    maps, points = maps_and_points(64, (16, 19))
    exact = results(ours, maps, points, 3)
    found = results(half_of_ours, maps, points, 3)
    assert found[0].dtype == torch.float32
    assert (found[0] - exact[0]).norm() < 0.01 * exact[0].norm()
    for one, expected in zip(found[1:], exact[1:], strict=True):
        torch.testing.assert_close(one, expected)


@needs_kernels
@pytest.mark.parametrize("costs_of", [windows, half_costs])
def test_a_match_that_is_nowhere_spoils_its_own_costs_alone(costs_of):
    (features1, features2), points = maps_and_points(32, (12, 14))
    points[0, 0, 5, 7], points[1, 1, 5, 8] = torch.nan, torch.inf
    costs = costs_of(features1, halved(features2), points, 3)
    finite = costs.isfinite().all(1)
    assert not finite[0, 5, 7] and not finite[1, 5, 8]
    assert finite.sum() == finite.numel() - 2


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 2])
def test_threads_share_the_images_and_the_channels(threads, batch, on_threads):
    maps, points = maps_and_points(96, (9, 13))
    maps, points = [one[:batch].detach().requires_grad_() for one in maps], points[:batch]
    one_thread = results(ours, maps, points, 3)
    with on_threads(threads):
        found = results(ours, maps, points, 3)
    assert all(a.equal(b) for a, b in zip(found, one_thread, strict=True))


@needs_kernels
@pytest.mark.parametrize("costs_of", [ours, half_of_ours])
def test_the_compiler_takes_it_in_one_piece(costs_of):
    maps, points = maps_and_points(32, (12, 14))
    compiled = torch.compile(costs_of, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*maps, points, 2), costs_of(*maps, points, 2))


@needs_kernels
def test_only_half_precision_has_the_matrix_unit():
    features1, levels, _ = rounded_maps(32, (12, 14))
    assert pack(features1, levels, 3) == []
    with torch.autocast("cpu", torch.bfloat16):
        assert bool(pack(features1, levels, 3)) == native.has_matrix_kernels()
        assert pack(features1, levels, TALLEST + 1) == []


@needs_kernels
def test_what_the_kernels_cannot_do_is_told():
    assert not has_windows(torch.empty(1, 40, 8, 8), 3)
    assert not has_windows(torch.empty(1, 32, 8, 8), 9)
    assert not has_windows(torch.empty(1, 32, 8, 8, device="meta"), 3)


@needs_kernels
def test_the_other_width_of_registers_gives_the_same(other_registers):
    for case in CASES:
        test_costs_and_gradients_are_those_of_all_pairs(*case)
        if case[0] <= TALLEST:
            test_the_matrix_units_costs_are_those_of_rounded_features(*case)
