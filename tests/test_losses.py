"""Every loss against its formula, written out pixel by pixel."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pictures import constant_flow, texture

from mdflow.config import SupervisedConfig
from mdflow.errors import InputError
from mdflow.geometry import resize_flow
from mdflow.losses import (
    census,
    charbonnier,
    endpoint_error,
    inside_border,
    l1,
    labels_at,
    masked_mean,
    robust,
    sequence_weights,
    smoothness,
    ssim,
    supervised_loss,
)

HEIGHT, WIDTH = 9, 10


def images() -> tuple[torch.Tensor, torch.Tensor]:
    return texture(HEIGHT, WIDTH, seed=1).double(), texture(HEIGHT, WIDTH, seed=2).double()


def arrays() -> list[np.ndarray]:
    """The images as (H,W,3)."""
    return [image[0].permute(1, 2, 0).numpy() for image in images()]


def pixels(border: int = 0):
    return [(y, x) for y in range(border, HEIGHT - border) for x in range(border, WIDTH - border)]


@pytest.mark.parametrize("radius", [1, 3])
def test_census_is_the_soft_hamming_distance_of_signed_differences(radius):
    gray = [255 * (0.2989 * image[..., 0] + 0.5870 * image[..., 1] + 0.1140 * image[..., 2]) for image in arrays()]
    found = census(*images(), radius)[0, 0]
    steps = range(-radius, radius + 1)
    for y, x in pixels(radius):
        total = 0.0
        for dy in steps:
            for dx in steps:
                codes = []
                for one in gray:
                    difference = one[y + dy, x + dx] - one[y, x]
                    codes.append(difference / math.sqrt(0.81 + difference**2))
                squared = (codes[0] - codes[1]) ** 2
                total += squared / (0.1 + squared)
        assert found[y, x] == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (5, 2)])
def test_census_of_an_image_smaller_than_its_window_counts_the_neighbours_there_are(size):
    image1, image2 = texture(*size, seed=1), texture(*size, seed=2).requires_grad_()
    distance = census(image1, image2)
    distance.sum().backward()
    assert distance.shape == (1, 1, *size)
    assert image2.grad.isfinite().all()
    neighbours = size[0] * size[1] - 1
    assert (distance <= neighbours).all()
    assert neighbours == 0 or distance.mean() > 0


def test_census_does_not_see_brightness():
    image1, image2 = (0.1 + 0.6 * image for image in images())
    expected = census(image1, image2)
    assert torch.allclose(census(image1, image2 + 0.2), expected, atol=1e-9)
    assert census(image1, image1 - 0.1).abs().max() < 1e-18


def test_the_largest_census_distance_is_below_46_9():
    """48 neighbours that are all brighter in one image and all darker in the other."""
    image1, image2 = torch.ones(1, 3, 7, 7), torch.zeros(1, 3, 7, 7)
    image1[..., 3, 3], image2[..., 3, 3] = 0, 1
    assert 46.8 < float(census(image1, image2)[0, 0, 3, 3]) < 46.9


def test_ssim_is_the_one_of_3x3_windows():
    image1, image2 = arrays()
    found = ssim(*images())[0, 0]
    for y, x in pixels(1):
        values = []
        for channel in range(3):
            one, two = (image[y - 1 : y + 2, x - 1 : x + 2, channel] for image in (image1, image2))
            covariance = (one * two).mean() - one.mean() * two.mean()
            similarity = (2 * one.mean() * two.mean() + 1e-4) * (2 * covariance + 9e-4)
            similarity /= (one.mean() ** 2 + two.mean() ** 2 + 1e-4) * (one.var() + two.var() + 9e-4)
            values.append(min(max((1 - similarity) / 2, 0), 1))
        assert found[y, x] == pytest.approx(np.mean(values), rel=1e-9)


def test_ssim_of_equal_images_is_zero_up_to_the_border():
    image = texture(HEIGHT, WIDTH).double()
    assert ssim(image, image).abs().max() < 1e-12


def test_ssim_at_the_border_reflects_the_images():
    wide = [F.pad(image, (1,) * 4, mode="reflect") for image in images()]
    torch.testing.assert_close(ssim(*images()), ssim(*wide)[..., 1:-1, 1:-1])


def test_l1_and_charbonnier_are_means_over_colours():
    image1, image2 = arrays()
    assert np.allclose(l1(*images())[0, 0], np.abs(image1 - image2).mean(-1))
    assert np.allclose(charbonnier(*images())[0, 0], np.sqrt((image1 - image2) ** 2 + 1e-6).mean(-1))


def test_robust_is_a_power_that_is_smooth_at_zero():
    values = torch.tensor([0.0, -2.0, 30.0], dtype=torch.float64)
    assert torch.allclose(robust(values), torch.tensor([0.01**0.4, 2.01**0.4, 30.01**0.4], dtype=torch.float64))


@pytest.mark.parametrize("order", [1, 2])
def test_smoothness_weighs_steps_of_the_flow_by_steps_of_the_image(order):
    image = arrays()[0]
    flow = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH, 2))
    sums = []
    for axis in (1, 0):
        values = []
        for y, x in pixels():
            ahead = [(y + step, x) if axis == 0 else (y, x + step) for step in range(order + 1)]
            if ahead[-1][axis] >= image.shape[axis]:
                continue
            if order == 1:
                change = flow[ahead[1]] - flow[ahead[0]]
            else:
                change = flow[ahead[2]] - 2 * flow[ahead[1]] + flow[ahead[0]]
            weight = math.exp(-7 * np.abs(image[ahead[-1]] - image[ahead[0]]).mean())
            values += [weight * math.sqrt(one**2 + 1e-6) for one in change]
        sums.append(np.mean(values))
    found = smoothness(torch.from_numpy(flow).permute(2, 0, 1)[None], images()[0], order, edge=7)
    assert float(found) == pytest.approx(sum(sums) / 2, rel=1e-9)


def test_the_second_order_lets_a_flow_grow_evenly():
    slope = torch.arange(10.0, dtype=torch.float64).expand(1, 2, 8, 10)
    flat = torch.zeros(1, 3, 8, 10, dtype=torch.float64)
    assert smoothness(slope, flat, 1, edge=10) > 0.4
    assert smoothness(slope, flat, 2, edge=10) < 2e-3


def test_an_edge_of_the_image_may_be_an_edge_of_the_flow():
    flow = torch.zeros(1, 2, 8, 10)
    flow[..., 5:] = 3
    image = torch.zeros(1, 3, 8, 10)
    assert smoothness(flow, image, 1, edge=150) > 0.1
    image[..., 5:] = 1
    assert smoothness(flow, image, 1, edge=150) < 2e-3


def test_masked_mean_is_the_mean_of_what_is_chosen():
    values, weight = torch.arange(12.0).view(1, 2, 2, 3), torch.tensor([[1.0, 0, 0], [0, 0, 1]]).view(1, 1, 2, 3)
    assert float(masked_mean(values, weight)) == (0 + 5 + 6 + 11) / 4
    assert float(masked_mean(values)) == 5.5
    assert float(masked_mean(torch.tensor([3.0, 5.0]), torch.tensor([0.2, 0.0]))) == pytest.approx(3)


def test_an_empty_mask_gives_zero_and_a_zero_gradient():
    values = torch.rand(1, 2, 3, 4, requires_grad=True)
    mean = masked_mean(values, torch.zeros(1, 1, 3, 4))
    mean.backward()
    assert float(mean.detach()) == 0
    assert torch.equal(values.grad, torch.zeros_like(values))


def test_the_border_mask_leaves_the_inside():
    mask = inside_border(torch.rand(1, 3, 6, 7), 2)
    assert mask.sum() == 2 * 3
    assert mask[0, 0, 2:4, 2:5].all()


@pytest.mark.parametrize(
    "loss",
    [l1, charbonnier, ssim, census, lambda a, b: robust(census(a, b, 1))],
    ids=["l1", "charbonnier", "ssim", "census", "ternary"],
)
def test_gradients_of_photometric_losses(loss):
    """Against differences of float64, and float32 against float64."""
    image1, image2 = images()
    both = (image1.clone().requires_grad_(), image2.clone().requires_grad_())
    assert torch.autograd.gradcheck(loss, both, fast_mode=True)
    gradients = []
    for kind in (torch.float32, torch.float64):
        other = image2.to(kind, copy=True).requires_grad_()
        loss(image1.to(kind), other).sum().backward()
        gradients.append(other.grad.double())
    assert (gradients[0] - gradients[1]).abs().max() < 1e-3 * gradients[1].abs().max()


def test_gradients_of_flow_losses():
    flow = torch.randn(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    coarse = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    image, target = texture(6, 7).double(), torch.randn(1, 2, 6, 7, dtype=torch.float64)
    weight = (torch.rand(1, 1, 6, 7) > 0.3).double()
    for order in (1, 2):
        assert torch.autograd.gradcheck(lambda f, n=order: smoothness(f, image, n, 10), flow)
    for exponent in (1.0, 0.4):
        assert torch.autograd.gradcheck(
            lambda c, f, q=exponent: supervised_loss([c, f], target, weight, SupervisedConfig(exponent=q)),
            (coarse, flow),
        )


def test_the_endpoint_error_is_the_length_and_has_a_gradient_at_zero():
    flow = constant_flow(3, 4, 2, 2).requires_grad_()
    assert torch.allclose(endpoint_error(flow, torch.zeros(1, 2, 2, 2)), torch.full((1, 1, 2, 2), 5.0))
    endpoint_error(flow, flow.detach()).sum().backward()
    assert torch.equal(flow.grad, torch.zeros_like(flow))


def test_later_outputs_count_more():
    assert sequence_weights(3, 0.8) == pytest.approx([0.64, 0.8, 1])


def test_the_supervised_loss_is_zero_at_the_truth_on_every_level():
    target = constant_flow(8, -4, 16, 24)
    levels = [constant_flow(2, -1, 4, 6), constant_flow(4, -2, 8, 12), target]
    assert supervised_loss(levels, target, torch.ones(1, 1, 16, 24), SupervisedConfig()) < 1e-5


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_an_error_costs_the_same_on_every_level(scale):
    """4 px of the full image, whichever grid they are on."""
    target = torch.zeros(1, 2, 16, 24)
    off = constant_flow(4 / scale, 0, 16 // scale, 24 // scale)
    ones = torch.ones(1, 1, 16, 24)

    def loss(*flows, **settings):
        return float(supervised_loss(list(flows), target, ones, SupervisedConfig(**settings)))

    assert loss(off) == pytest.approx(4, rel=1e-6)
    assert loss(off, exponent=0.4) == pytest.approx(4.01**0.4, rel=1e-6)
    assert loss(off, unit=20, exponent=0.4) == pytest.approx(0.21**0.4, rel=1e-6)
    assert loss(off, target, gamma=0.5) == pytest.approx(2, rel=1e-5)
    assert loss(off, target, level_weights=[0.25, 0]) == pytest.approx(1, rel=1e-6)
    assert loss(off, full_size=True) == pytest.approx(4, rel=1e-6)
    assert loss(off, reduction="sum") == pytest.approx(4 * 16 * 24 / scale**2, rel=1e-6)
    assert loss(off, reduction="sum", full_size=True) == pytest.approx(4 * 16 * 24, rel=1e-6)


def test_a_sum_goes_over_the_known_pixels_of_each_item():
    target, flow = torch.zeros(2, 2, 8, 8), constant_flow(3, 4, 8, 8, batch=2)
    weight = torch.ones(2, 1, 8, 8)
    weight[1, :, 2:] = 0
    for distance, error in (("euclidean", 5), ("l1", 7)):
        config = SupervisedConfig(distance=distance, reduction="sum")
        assert float(supervised_loss([flow], target, weight, config)) == pytest.approx(error * (64 + 16) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("motion", "judged"), [((30, 0), 30), ((240, 240), 240 * 2**0.5), ((0, 500), 0), ((300, 300), 0)]
)
def test_motion_longer_than_the_largest_is_not_judged(motion, judged):
    """Nor is it a part of the mean over the pixels that are."""
    flow, weight, config = torch.zeros(1, 2, 8, 8), torch.ones(1, 1, 8, 8), SupervisedConfig(largest=400)
    target = constant_flow(*motion, 8, 8)
    assert float(supervised_loss([flow], target, weight, config)) == pytest.approx(judged, rel=1e-5)
    target[..., 4:] = constant_flow(2, 0, 8, 4)
    mean = (judged + 2) / 2 if judged else 2
    assert float(supervised_loss([flow], target, weight, config)) == pytest.approx(mean, rel=1e-5)


def test_level_weights_are_as_many_as_the_flows():
    flow = torch.zeros(1, 2, 8, 8)
    with pytest.raises(InputError, match=r"1 level_weights and 2 flows"):
        supervised_loss([flow, flow], flow, torch.ones(1, 1, 8, 8), SupervisedConfig(level_weights=[1]))
    with pytest.raises(InputError, match="All level_weights are 0"):
        supervised_loss([flow], flow, torch.ones(1, 1, 8, 8), SupervisedConfig(level_weights=[0]))


def test_the_supervised_loss_looks_only_where_it_is_told_to():
    target, weight = constant_flow(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
    flow = target.clone()
    flow[..., :4] = 100
    weight[..., :4] = 0
    assert supervised_loss([flow], target, weight, SupervisedConfig()) < 1e-5
    assert supervised_loss([flow], target, 1 - weight, SupervisedConfig()) > 100


@pytest.mark.parametrize("side", [1, 2, 4, 8])
def test_what_has_no_weight_does_not_bleed_into_coarse_labels(side):
    """Right where it counts, whatever the rest of a label says: unknown as zero, or wrong."""
    torch.manual_seed(0)
    for share in (0.1, 0.5):
        weight = (torch.rand(1, 1, 16, 16) < share).float()
        target = torch.where(weight > 0, constant_flow(8, -4, 16, 16), torch.tensor(60.0))
        coarse = constant_flow(8 * side / 16, -4 * side / 16, side, side)
        assert supervised_loss([coarse], target, weight, SupervisedConfig()) < 1e-3


def test_coarse_labels_of_dense_ones_are_their_mean():
    target = torch.randn(1, 2, 16, 24)
    local, weight = labels_at((4, 6), target, torch.ones(1, 1, 16, 24))
    torch.testing.assert_close(local, resize_flow(target, (4, 6)))
    torch.testing.assert_close(weight, torch.ones(1, 1, 4, 6))
