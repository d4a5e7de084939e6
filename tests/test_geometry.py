import pytest
import torch
import torch.nn.functional as F
from pictures import constant_flow, shifted_pair, texture

from mdflow.geometry import enlarge, gathered_sampling, inside_frame, range_map, resize_flow, sample, warp


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, 0), (0, -2), (-4, 5)])
def test_warping_by_whole_pixels_is_exact(dx, dy):
    # Sides of 2^n + 1, where the coordinates that grid_sample wants are exact in float32 too.
    image1, image2 = shifted_pair(dx, dy, 17, 33)
    flow = constant_flow(dx, dy, 17, 33)
    inside = inside_frame(flow).bool().expand_as(image1)
    assert inside.sum() == 3 * (17 - abs(dy)) * (33 - abs(dx))
    assert torch.equal(warp(image2, flow)[inside], image1[inside])


def test_warping_by_whole_pixels_is_exact_to_rounding_at_any_size():
    image1, image2 = shifted_pair(-4, 5, 20, 301)
    flow = constant_flow(-4, 5, 20, 301)
    inside = inside_frame(flow)
    assert ((warp(image2, flow) - image1) * inside).abs().max() < 1e-4
    found = warp(image2.double(), flow.double())
    assert ((found - image1) * inside).abs().max() < 1e-12


def test_half_a_pixel_is_the_mean_of_two():
    image = texture(5, 6)
    found = warp(image, constant_flow(0.5, 0, 5, 6))
    assert torch.allclose(found[..., :-1], (image[..., 1:] + image[..., :-1]) / 2, atol=1e-6)


def test_outside_is_zero_or_the_border():
    image, flow = texture(5, 6) + 1, constant_flow(10, 0, 5, 6)
    assert (warp(image, flow) == 0).all()
    assert torch.equal(warp(image, flow, padding="border"), image[..., -1:].expand(1, 3, 5, 6))


def test_the_last_pixel_is_the_edge_of_the_frame():
    flow = constant_flow(0.5, 0, 4, 6)
    across, down = inside_frame(flow), inside_frame(flow.flip(1))
    assert (across[..., -1] == 0).all() and (across[..., :-1] == 1).all()
    assert (down[..., -1, :] == 0).all() and (down[..., :-1, :] == 1).all()


def test_a_frame_of_one_pixel_can_be_sampled():
    image = texture(1, 1)
    assert torch.equal(sample(image, torch.zeros(1, 2, 1, 1)), image)


def test_gradients_of_the_warp_are_those_of_its_values():
    image = texture(4, 5).double().requires_grad_()
    # Away from whole pixels, where bilinear values have a kink.
    flow = (0.3 + 0.4 * torch.rand(1, 2, 4, 5, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda i, f: warp(i, f, padding="border"), (image, flow), fast_mode=True)


def test_float32_gradients_of_the_warp_agree_with_float64():
    image, flow = texture(8, 9), 2 * torch.rand(1, 2, 8, 9)
    gradients = []
    for kind in (torch.float32, torch.float64):
        one = flow.to(kind, copy=True).requires_grad_()
        (warp(image.to(kind), one) ** 2).sum().backward()
        gradients.append(one.grad.double())
    assert (gradients[0] - gradients[1]).abs().max() < 1e-4 * gradients[1].abs().max()


def test_a_crop_that_looks_at_the_whole_frame_sees_what_a_crop_of_the_warped_frame_shows():
    frame2 = texture(20, 24, batch=2)
    flow = 6 * torch.rand(2, 2, 20, 24, generator=torch.Generator().manual_seed(1)) - 3
    origin = torch.tensor([[5.0, 3.0], [2.0, 7.0]])

    def cut(planes):
        return torch.stack([planes[0, :, 3:11, 5:15], planes[1, :, 7:15, 2:12]])

    found = warp(frame2, cut(flow), origin=origin)
    assert torch.allclose(found, cut(warp(frame2, flow)), atol=1e-5)
    assert torch.equal(inside_frame(cut(flow), (20, 24), origin), cut(inside_frame(flow)))


@pytest.fixture(name="pair")
def image_and_points():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, 6, 9, dtype=torch.float64, generator=generator)
    points = torch.rand(2, 2, 7, 5, dtype=torch.float64, generator=generator) * 14 - 3  # many of them outside
    points[..., 0, 0] = torch.tensor([8.0, 5.0])  # the last pixel itself
    return image, points


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_gathered_values_are_those_of_grid_sample(pair, padding):
    assert (gathered_sampling(*pair, padding) - sample(*pair, padding)).abs().max() < 1e-12


@pytest.mark.parametrize("align_corners", [True, False])
def test_an_export_samples_as_the_network_does(pair, align_corners, monkeypatch):
    pair = pair[0].repeat(1, 6, 1, 1), pair[1]
    expected = sample(*pair, align_corners=align_corners)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.setattr(F, "grid_sample", None)
    assert (sample(*pair, align_corners=align_corners) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("size", [(8, 24), (32, 36), (16, 12)])
def test_a_resized_flow_counts_in_the_pixels_of_its_new_grid(size):
    resized = resize_flow(constant_flow(4, -2, 16, 12), size)
    assert torch.allclose(resized, constant_flow(4 * size[1] / 12, -2 * size[0] / 16, *size), atol=1e-5)


def test_resizing_keeps_where_a_linear_flow_points():
    """A zoom about the image's middle stays that zoom, at half the size."""
    x = torch.arange(16) - 7.5
    flow = torch.stack([0.1 * x.expand(16, 16), 0.1 * x[:, None].expand(16, 16)])[None]
    x = torch.arange(8) - 3.5
    expected = torch.stack([0.1 * x.expand(8, 8), 0.1 * x[:, None].expand(8, 8)])[None]
    inner = (..., slice(2, -2), slice(2, -2))
    assert torch.allclose(resize_flow(flow, (8, 8))[inner], expected[inner], atol=1e-5)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("compiling", [False, True])
def test_enlarging_by_a_whole_factor_is_bilinear_interpolation(factor, compiling, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiling)
    image = torch.randn(2, 2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarge(image, factor), expected, atol=1e-12, rtol=0)


def test_a_compiled_flow_is_resized_alike(monkeypatch):
    flow = torch.randn(1, 2, 6, 9, generator=torch.Generator().manual_seed(0))
    expected = [resize_flow(flow, size) for size in ((24, 36), (12, 36), (3, 5))]
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    found = [resize_flow(flow, size) for size in ((24, 36), (12, 36), (3, 5))]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_the_range_map_of_a_shift_is_one_where_something_lands():
    count = range_map(constant_flow(3, -2, 8, 10))
    expected = torch.zeros(1, 1, 8, 10)
    expected[..., :6, 3:] = 1
    assert torch.equal(count, expected)


def test_the_range_map_counts_what_lands_together_and_shares_between_pixels():
    flow = torch.zeros(1, 2, 3, 6)
    flow[0, 0, 1, 0] = 2  # joins pixel 2
    flow[0, 0, 1, 5] = -0.75  # three quarters to pixel 4
    expected = torch.tensor([0, 1, 2, 1, 1.75, 0.25])
    assert torch.allclose(range_map(flow)[0, 0, 1], expected)
    assert torch.allclose(range_map(flow).sum(), torch.tensor(18.0))


def test_each_item_of_a_batch_has_its_own_range_map():
    flows = torch.cat([constant_flow(3, 0, 8, 10), constant_flow(-1, 2, 8, 10)])
    assert torch.equal(range_map(flows), torch.cat([range_map(flows[:1]), range_map(flows[1:])]))
