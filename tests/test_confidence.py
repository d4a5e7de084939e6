import pytest
import torch
from pictures import constant_flow, shifted_pair

from mdflow.confidence import image_quantile, reliable_mask
from mdflow.config import ConfidenceConfig

HEIGHT, WIDTH, SHIFT = 40, 48, 4
WRONG = (slice(None), slice(None), slice(12, 26), slice(10, 26))  # well inside, so that wrong ends stay inside


def labels_of_a_shift(shift: int) -> tuple[torch.Tensor, ...]:
    """(image1, image2, flow12, flow21) of a shift to the right."""
    flow = constant_flow(shift, 0, HEIGHT, WIDTH)
    return *shifted_pair(shift, 0, HEIGHT, WIDTH), flow, -flow


def labels_with_a_mistake() -> tuple[torch.Tensor, ...]:
    """Those of a shift, but wrong in a region, where they agree with each other all the same."""
    image1, image2, flow12, flow21 = labels_of_a_shift(SHIFT)
    flow12[WRONG] = torch.tensor([10.0, 3.0]).view(1, 2, 1, 1)
    flow21[..., 15:29, 20:36] = torch.tensor([-10.0, -3.0]).view(1, 2, 1, 1)
    return image1, image2, flow12, flow21


def inner(mask: torch.Tensor) -> torch.Tensor:
    """The true part: away from the frame's edge, the mistake, and what leaves."""
    inside = torch.zeros_like(mask)
    inside[..., 4:-4, 4:-9] = 1
    inside[..., 8:33, 4:42] = 0
    return inside.bool()


def test_wrong_labels_that_agree_both_ways_are_rejected_by_their_looks():
    mask = reliable_mask(*labels_with_a_mistake(), ConfidenceConfig(threshold=5.0, quantile=None))
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert mask[..., 14:24, 12:24].mean() < 0.05
    assert mask[inner(mask)].mean() == 1
    assert not mask[..., :3, :].any()
    assert not mask[..., -SHIFT:].any()


def test_the_check_of_both_directions_alone_believes_them():
    config = ConfidenceConfig(threshold=None, quantile=None)
    mask = reliable_mask(*labels_with_a_mistake(), config)
    assert mask[..., 14:24, 12:24].mean() > 0.95
    assert not mask[..., -SHIFT:].any()


def test_without_occlusion_all_labels_count_until_a_threshold_is_set():
    everything = ConfidenceConfig(occlusion=False, threshold=None, quantile=None)
    assert (reliable_mask(*labels_with_a_mistake(), everything) == 1).all()
    mask = reliable_mask(*labels_with_a_mistake(), ConfidenceConfig(occlusion=False, threshold=5.0, quantile=None))
    assert mask[..., 14:24, 12:24].mean() < 0.05


def test_the_quantile_is_of_each_images_visible_pixels():
    image1, image2, flow12, flow21 = labels_with_a_mistake()
    pair = [torch.cat([one, one.flip(2)]) for one in (image1, image2)]
    mirrored = [flow.flip(2) * torch.tensor([1.0, -1.0]).view(1, 2, 1, 1) for flow in (flow12, flow21)]
    flows = [torch.cat([flow, other]) for flow, other in zip((flow12, flow21), mirrored, strict=True)]
    mask = reliable_mask(*pair, *flows, ConfidenceConfig(quantile=0.6))
    assert mask[1:].sum() == pytest.approx(float(mask[:1].sum()), rel=0.02)
    assert mask[..., 14:24, 12:24].mean() < 0.05
    visible = reliable_mask(*pair, *flows, ConfidenceConfig(quantile=None))
    assert 0.4 < mask.sum() / visible.sum() < 0.61
    looser = reliable_mask(*pair, *flows, ConfidenceConfig(quantile=1.0))
    assert torch.equal(looser[..., 3:-3, 3:-3], visible[..., 3:-3, 3:-3])


def test_the_quantile_is_not_one_of_what_is_hidden():
    """Half of the frame leaves it and looks wrong: of the other half, half is kept."""
    image1, image2, *flows = labels_of_a_shift(WIDTH // 2)
    image2 = image2 + 0.05 * torch.randn(image2.shape, generator=torch.Generator().manual_seed(0))
    kept, visible = (
        reliable_mask(image1, image2, *flows, ConfidenceConfig(quantile=quantile))[..., 3:-3, 3:-3]
        for quantile in (0.5, None)
    )
    assert 0.3 < kept.sum() / visible.sum() < 0.55


def test_the_strictest_criterion_counts():
    pair = labels_with_a_mistake()
    both = reliable_mask(*pair, ConfidenceConfig(threshold=2.0, quantile=0.9))
    alone = [
        reliable_mask(*pair, ConfidenceConfig(threshold=2.0, quantile=None)),
        reliable_mask(*pair, ConfidenceConfig(threshold=None, quantile=0.9)),
    ]
    assert torch.equal(both, alone[0] * alone[1])


def test_when_nothing_is_visible_nothing_is_kept():
    image1, image2, *_ = labels_with_a_mistake()
    flow = constant_flow(1000, 0, HEIGHT, WIDTH)
    mask = reliable_mask(image1, image2, flow, flow, ConfidenceConfig())
    assert torch.equal(mask, torch.zeros_like(mask))


def test_a_quantile_is_taken_where_the_weight_is_set():
    values = torch.arange(8.0).view(2, 1, 2, 2)
    weight = torch.tensor([[1.0, 1, 1, 0], [0, 0, 0, 0]]).view(2, 1, 2, 2)
    assert image_quantile(values, weight, 0.5).flatten().tolist() == [1, 7]


def test_a_soft_weight_falls_with_the_census_distance():
    """What looks right counts nearly whole, what looks wrong hardly, and nothing in between is cut."""
    soft = reliable_mask(*labels_with_a_mistake(), ConfidenceConfig(quantile=None, soft=2.0))
    hard = reliable_mask(*labels_with_a_mistake(), ConfidenceConfig(quantile=None, threshold=5.0))
    assert soft[inner(soft)].min() > 0.9
    assert soft[..., 14:24, 12:24].mean() < 0.05
    assert len(soft.unique()) > 100
    assert soft[hard == 1].min() > torch.exp(torch.tensor(-5.0 / 2.0)) - 1e-6


def test_a_soft_weight_is_zero_where_nothing_is_visible():
    soft = reliable_mask(*labels_of_a_shift(12), ConfidenceConfig(quantile=None, soft=20.0))
    assert not soft[..., -12:].any()
    assert (soft[..., 3:-3, 3:-15] > 0).all()
