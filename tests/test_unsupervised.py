"""The physics: two frames explain each other best under their true flow."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from pictures import constant_flow, shifted_pair, texture

from mdflow.config import UnsupervisedConfig
from mdflow.losses import census, robust
from mdflow.unsupervised import Crops, photometric, unsupervised_loss, visibility

OFF = {"l1": 0, "charbonnier": 0, "ssim": 0, "census": 0, "ternary": 0, "smooth1": 0, "smooth2": 0}
SIZE = (33, 65)  # 2^n + 1: warping by whole pixels is exact


def only(**terms) -> UnsupervisedConfig:
    return UnsupervisedConfig(**(OFF | terms))


def loss_of(config, image1, image2, flow12, flow21, progress=1.0) -> float:
    terms, _ = unsupervised_loss(Crops.whole(image1, image2), [flow12], [flow21], config, progress)
    return float(sum(terms.values()))


def unlike_pair() -> tuple[torch.Tensor, ...]:
    """(image1, image2, visible) of two textures, all of which is visible."""
    return texture(20, 24, 1), texture(20, 24, 2), torch.ones(1, 1, 20, 24)


@pytest.mark.parametrize(
    ("term", "least"), [("l1", 0), ("charbonnier", 2e-3), ("ssim", 0), ("census", 2 * 0.01**0.4), ("ternary", 0)]
)
def test_the_photometric_loss_is_least_at_the_true_flow(term, least):
    """In a crop, all of which the other frame shows, so that every window is whole."""
    dx, dy = 4, -3
    frame1, frame2 = shifted_pair(dx, dy, *SIZE)
    crops = Crops(frame1[..., 8:24, 8:56], frame2[..., 8:24, 8:56], frame1, frame2, torch.tensor([[8.0, 8.0]]))
    losses = {}
    for off_x in (-2, -1, -0.5, 0, 0.5, 1, 2):
        for off_y in (-1, 0, 1):
            flow12 = constant_flow(dx + off_x, dy + off_y, 16, 48)
            terms, _ = unsupervised_loss(crops, [flow12], [-flow12], only(**{term: 2}))
            losses[off_x, off_y] = float(terms[term])
    truth = losses.pop((0, 0))
    assert truth == pytest.approx(least, rel=1e-3, abs=1e-6)
    assert truth < 0.7 * min(losses.values())
    assert losses[-2, 0] > losses[-0.5, 0]
    assert losses[2, 0] > losses[0.5, 0]


def test_a_shift_by_whole_pixels_costs_nothing_at_all():
    image1, image2 = shifted_pair(5, 2, *SIZE)
    flow12 = constant_flow(5, 2, *SIZE)
    assert loss_of(only(l1=1), image1, image2, flow12, -flow12) == 0


def test_what_moves_out_of_the_frame_is_not_held_against_a_flow():
    """The border is sampled there, which would cost."""
    image1, image2 = shifted_pair(8, 0, *SIZE)
    flow12 = constant_flow(8, 0, *SIZE)
    for occlusion in ("none", "range_map", "forward_backward"):
        assert loss_of(only(l1=1, occlusion=occlusion), image1, image2, flow12, -flow12) < 1e-6


def test_both_directions_count_alike():
    image1, image2 = shifted_pair(3, 1, *SIZE)
    wrong, right = constant_flow(1, 0, *SIZE), constant_flow(3, 1, *SIZE)
    config = only(census=1, occlusion="none")
    first = loss_of(config, image1, image2, wrong, -right)
    second = loss_of(config, image2, image1, -right, wrong)
    assert first == pytest.approx(second, rel=1e-5)
    assert first > loss_of(config, image1, image2, right, -right)


def test_terms_add_up_with_their_weights():
    image1, image2, visible = unlike_pair()
    single = {name: photometric(image1, image2, visible, only(**{name: 1}))[name] for name in ("l1", "ssim", "census")}
    together = photometric(image1, image2, visible, only(l1=0.15, ssim=0.85, census=2))
    assert together["l1"] == pytest.approx(0.15 * single["l1"])
    assert together["ssim"] == pytest.approx(0.85 * single["ssim"])
    assert together["census"] == pytest.approx(2 * single["census"])
    assert list(together) == ["l1", "ssim", "census"]


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_census_counts_whole_windows_alone(radius):
    image1, image2, visible = unlike_pair()
    inner = (..., slice(radius, -radius), slice(radius, -radius))
    found = photometric(image1, image2, visible, only(census=1, census_radius=radius))["census"]
    assert float(found) == pytest.approx(float(robust(census(image1, image2, radius))[inner].mean()))


def test_ternary_counts_whole_windows_of_3x3_pixels_alone():
    image1, image2, visible = unlike_pair()
    found = photometric(image1, image2, visible, only(ternary=1))["ternary"]
    assert float(found) == pytest.approx(float(census(image1, image2, 1)[..., 1:-1, 1:-1].mean() / 9))


@pytest.mark.parametrize("term", ["l1", "charbonnier", "ssim", "census", "ternary"])
def test_what_is_not_visible_does_not_count(term):
    image1, image2, visible = unlike_pair()
    image2[..., :10], visible[..., :14] = image1[..., :10], 0
    config = only(**{term: 1})
    masks = torch.ones_like(visible), visible
    whole, part = (float(photometric(image1, image2, mask, config)[term]) for mask in masks)
    assert part > 1.2 * whole
    assert float(photometric(image1, image2, 0 * visible, config)[term]) == 0


def test_earlier_outputs_count_less_and_only_as_many_as_asked():
    image1, image2 = shifted_pair(4, 0, *SIZE)
    right, wrong = constant_flow(4, 0, *SIZE), constant_flow(2, 0, *SIZE)
    crops = Crops.whole(image1, image2)

    def loss(flows, **options):
        terms, _ = unsupervised_loss(crops, flows, [-flow for flow in flows], only(l1=1, **options))
        return float(terms["l1"])

    last = loss([wrong])
    assert loss([wrong, right], outputs=1) == 0
    assert loss([wrong, right], outputs=2, gamma=0.5) == pytest.approx(0.5 * last)
    assert loss([wrong, wrong, right], outputs=3, gamma=0.5) == pytest.approx(0.75 * last)


def test_coarse_flows_are_judged_at_the_size_of_the_crops():
    image1, image2 = shifted_pair(8, 4, 32, 64)
    small = constant_flow(2, 1, 8, 16)
    terms, masks = unsupervised_loss(Crops.whole(image1, image2), [small], [-small], only(l1=1))
    assert terms["l1"] < 1e-5
    assert masks[0].shape == (1, 1, 32, 64)


def test_the_masks_are_those_of_the_finest_flows():
    image1, image2 = shifted_pair(8, 0, 32, 64)
    right, none = constant_flow(8, 0, 32, 64), torch.zeros(1, 2, 32, 64)
    _, masks = unsupervised_loss(Crops.whole(image1, image2), [none, right], [none, -right], only(l1=1, outputs=2))
    assert (masks[0][..., -8:] == 0).all() and (masks[0][..., :-8] == 1).all()
    assert (masks[1][..., :8] == 0).all() and (masks[1][..., 8:] == 1).all()


def test_masks_start_late_and_change_from_range_map_to_forward_backward():
    crops = Crops.whole(*shifted_pair(0, 0, 24, 32))
    config = UnsupervisedConfig(mask_from=0.2, forward_backward_from=0.5)
    flow12, flow21 = torch.zeros(1, 2, 24, 32), torch.zeros(1, 2, 24, 32)
    flow21[:, 0, 8:16, 8:16] = 12  # nothing of frame 2 lands on rows 8:16, columns 8:16
    early, later, last = (visibility(flow12, flow21, crops, config, progress) for progress in (0.1, 0.3, 0.6))
    assert (early[0] == 1).all()
    assert (later[0][..., 8:16, 8:16] == 0).all()
    assert (later[1] == 1).all()
    assert (last[0][..., 8:16, 8:16] == 0).all()
    assert (last[1][..., 8:16, 8:16] == 0).all()
    assert (last[0][..., 17:, :] == 1).all()


def test_crops_look_at_the_whole_other_frame():
    """Pixels that leave the crop but not the frame count, and are found there (SMURF)."""
    frame1, frame2 = shifted_pair(6, 0, *SIZE)
    origin = torch.tensor([[10.0, 4.0]])
    crops = Crops(frame1[..., 4:20, 10:42], frame2[..., 4:20, 10:42], frame1, frame2, origin)
    flow = constant_flow(6, 0, 16, 32)
    terms, masks = unsupervised_loss(crops, [flow], [-flow], only(l1=1))
    assert all((mask == 1).all() for mask in masks)
    assert terms["l1"] < 1e-6
    terms, masks = unsupervised_loss(crops, [flow], [-flow], only(l1=1, full_image_warp=False))
    assert terms["l1"] < 1e-6
    assert (masks[0][..., -6:] == 0).all()
    assert (masks[0][..., :-6] == 1).all()


def test_what_leaves_the_frame_from_a_crop_is_masked():
    frame1, frame2 = shifted_pair(6, 0, *SIZE)
    crops = Crops(frame1[..., 4:20, -20:], frame2[..., 4:20, -20:], frame1, frame2, torch.tensor([[45.0, 4.0]]))
    flow = constant_flow(6, 0, 16, 20)
    _, (visible1, _) = unsupervised_loss(crops, [flow], [-flow], only(l1=1))
    assert (visible1[..., :14] == 1).all()
    assert (visible1[..., 14:] == 0).all()


@pytest.mark.parametrize("order", [1, 2])
def test_smoothness_ends_when_it_is_told_to(order):
    image1, image2 = shifted_pair(0, 0, 24, 32)
    flow = torch.randn(1, 2, 24, 32)
    name = f"smooth{order}"
    config = only(l1=1, smooth_until=0.5, **{name: 3.0})
    crops = Crops.whole(image1, image2)
    assert name in unsupervised_loss(crops, [flow], [flow], config, 0.4)[0]
    assert name not in unsupervised_loss(crops, [flow], [flow], config, 0.6)[0]
    assert name in unsupervised_loss(crops, [flow], [flow], only(**{name: 3.0}), 1.0)[0]


def test_smoothness_in_shares_of_the_shorter_side_does_not_depend_on_the_size():
    for height, width in ((24, 32), (48, 64)):
        grow = torch.arange(width) * 0.5
        flow = torch.stack([grow.expand(height, width), torch.zeros(height, width)])[None]
        image = torch.zeros(1, 3, height, width)
        config = only(smooth1=1, smooth_at=1, smooth_in_pixels=False, edge=10)
        terms, _ = unsupervised_loss(Crops.whole(image, image), [flow], [flow], config)
        per_pixel = 0.5 / height  # a step of the flow as a share of the shorter side, in one of two channels
        expected = 0.5 * (((per_pixel**2 + 1e-6) ** 0.5 + 1e-3) / 2 + 1e-3)
        assert float(terms["smooth1"]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("smooth_at", [1, 2, 4])
def test_smoothness_of_a_slope_is_the_same_on_every_grid(smooth_at):
    """Half a pixel a pixel, down the frame: on a grid of 1/4 it is 2 px in 4, so again half a pixel a pixel."""
    grow = torch.arange(64.0)[:, None].expand(64, 96) * 0.5
    flow, image = torch.stack([grow, torch.zeros(64, 96)])[None], torch.zeros(1, 3, 64, 96)
    config = only(smooth1=1, smooth_at=smooth_at, edge=10)
    terms, _ = unsupervised_loss(Crops.whole(image, image), [flow], [flow], config)
    assert float(terms["smooth1"]) == pytest.approx(0.5 * (0.5 / 2), rel=0.05)


def test_neither_masks_nor_images_take_a_gradient():
    image1, image2 = shifted_pair(2, 1, 24, 32)
    flow12 = constant_flow(1.3, 0.6, 24, 32).requires_grad_()
    flow21 = constant_flow(-1.3, -0.6, 24, 32).requires_grad_()
    terms, masks = unsupervised_loss(Crops.whole(image1, image2), [flow12], [flow21], UnsupervisedConfig())
    sum(terms.values()).backward()
    assert not any(mask.requires_grad for mask in masks)
    assert flow12.grad.isfinite().all()
    # A flow that is too short grows: the gradient points against it.
    assert flow12.grad[:, 0].sum() < 0
    assert flow21.grad[:, 0].sum() > 0


def test_when_nothing_is_visible_the_loss_is_zero_and_so_is_its_gradient():
    image1, image2 = shifted_pair(0, 0, 24, 32)
    flow = constant_flow(1000, 0, 24, 32).requires_grad_()
    terms, masks = unsupervised_loss(Crops.whole(image1, image2), [flow], [flow], only(census=1, l1=1, ssim=1))
    sum(terms.values()).backward()
    assert not any(mask.any() for mask in masks)
    assert float(sum(terms.values()).detach()) == 0
    assert torch.equal(flow.grad, torch.zeros_like(flow))


def test_reduced_frames_cost_nothing_at_the_true_flow():
    """Blocks of four pixels that move by four pixels are the same blocks."""
    frame1, frame2 = shifted_pair(4, -4, 48, 64)
    cut = (..., slice(8, 40), slice(12, 52))
    crops = Crops(frame1[cut], frame2[cut], frame1, frame2, torch.tensor([[12.0, 8.0]]))
    for some in (Crops.whole(frame1, frame2), crops):
        flow = constant_flow(4, -4, *some.image1.shape[-2:])
        config = only(l1=1, occlusion="none", reduced=(2, 4))
        right, wrong = (unsupervised_loss(some, [one], [-one], config, 0)[0]["l1"] for one in (flow, 0.9 * flow))
        assert float(right) < 1e-6
        assert float(wrong) > 0.01


def test_a_reduced_crop_that_starts_within_a_block_looks_up_between_two():
    """A ramp's blocks lie on the ramp, wherever they are cut."""
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 48, 64).contiguous()
    image = ramp[..., 8:40, 11:43]
    still = constant_flow(0, 0, 32, 32)
    crops = Crops(image, image, ramp, ramp, torch.tensor([[11.0, 8.0]]))
    terms, _ = unsupervised_loss(crops, [still], [still], only(l1=1, reduced=(4,)), 0)
    assert float(terms["l1"]) < 1e-6


def test_reduced_frames_see_motion_that_no_window_does():
    """From zero flow on the loss falls all the way to a motion of 12 px; at full size it rises first."""
    octaves = [texture(96 // scale, 192 // scale, seed=scale) for scale in (1, 4, 8)]
    wide = sum(F.interpolate(octave, (96, 192), mode="bicubic", align_corners=False) for octave in octaves) / 3
    cut = (..., slice(16, 80), slice(40, 136))
    frame1, frame2 = wide[..., 12:], wide[..., :-12]
    crops = Crops(frame1[cut], frame2[cut], frame1, frame2, torch.tensor([[40.0, 16.0]]))

    def losses(progress: float) -> list[float]:
        flows = [constant_flow(dx, 0, 64, 96) for dx in (0, 3, 6, 9, 12)]
        config = only(census=1, census_radius=2, occlusion="none", reduced=(2, 4, 8), reduced_until=0.5)
        return [float(unsupervised_loss(crops, [flow], [-flow], config, progress)[0]["census"]) for flow in flows]

    before, after = losses(0.4), losses(0.5)
    assert all(farther > nearer for farther, nearer in pairwise(before))
    assert before[3] < 0.9 * before[0]
    assert after[0] < after[1] < after[2]
