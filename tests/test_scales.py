"""Looking at frames in several sizes: each pixel gets the flow that explains it, what agrees with it joins in."""

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import Translation

from mdflow.data.synthetic import Synthetic
from mdflow.errors import InputError
from mdflow.inference import Predictor
from mdflow.networks import create
from mdflow.networks.network import FlowNetwork
from mdflow.scales import AtScales, most_credible

SIZE = (64, 96)


def moved_right(pixels: int) -> tuple[Tensor, Tensor]:
    """A pair (1,3,64,96) of noise that moves right."""
    noise = torch.rand(1, 3, SIZE[0], SIZE[1] + pixels, generator=torch.Generator().manual_seed(0))
    return noise[..., pixels:], noise[..., : SIZE[1]]


def constant(dx: float) -> tuple[Tensor, Tensor]:
    """(flow12, flow21) of a motion to the right."""
    flow = torch.zeros(1, 2, *SIZE)
    flow[:, 0] = dx
    return flow, -flow


class RightWhenLarge(FlowNetwork):
    """Knows the motion of 4 pixels in frames of twice the size, and sees none in others."""

    stride, name, options = 8, "right", {}

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        return [image1], [image2]

    def estimate(self, features1: list[Tensor], features2: list[Tensor]) -> list[Tensor]:
        image = features1[0]
        flow = torch.zeros(len(image), 2, *image.shape[-2:])
        if image.shape[-1] == 2 * SIZE[1]:
            flow[: len(image) // 2, 0], flow[len(image) // 2 :, 0] = 8, -8
        return [flow]


def test_the_size_that_explains_the_frames_wins_and_comes_back_in_pixels_of_the_frame():
    image1, image2 = moved_right(4)
    flows12, flows21 = AtScales(RightWhenLarge(), (1.0, 2.0)).both_directions(image1, image2)
    assert len(flows12) == 1
    inside = slice(8, -8)
    assert torch.allclose(flows12[0][..., inside, 8:-12], constant(4)[0][..., inside, 8:-12])
    assert torch.allclose(flows21[0][..., inside, 12:-8], constant(-4)[0][..., inside, 12:-8])
    assert torch.equal(Predictor(AtScales(RightWhenLarge(), (1.0, 2.0)))(image1, image2), flows12[0])


def test_each_pixel_chooses_for_itself():
    image1, image2 = moved_right(4)
    still = torch.rand(1, 3, SIZE[0] // 2, SIZE[1], generator=torch.Generator().manual_seed(1))
    image1, image2 = torch.cat([image1[..., :32, :], still], 2), torch.cat([image2[..., :32, :], still], 2)
    best = most_credible(image1, image2, [constant(0), constant(4)])
    assert (best[:, 0, 8:20, 12:-20] == 4).all()
    assert (best[:, 0, 44:56, 12:-20] == 0).all()
    assert (best[:, 1] == 0).all()


def test_flows_that_agree_and_explain_the_frames_alike_are_averaged():
    plain = torch.full((1, 3, *SIZE), 0.5)
    near, far = (most_credible(plain, plain, [constant(4), constant(dx)])[0, 0, 16:48, 16:-24] for dx in (4.4, 5.2))
    assert torch.allclose(near, torch.tensor(4.2))
    assert torch.allclose(far, torch.tensor(4.0))


def test_of_flows_that_agree_the_one_that_explains_the_frames_counts():
    best = most_credible(*moved_right(4), [constant(4.4), constant(4)])[0, 0, 16:48, 16:-24]
    assert torch.allclose(best, torch.tensor(4.0), atol=1e-3)


def test_where_nothing_is_visible_the_median_speaks():
    image1, image2 = moved_right(4)
    (flow12, flow21), shift = constant(200), torch.tensor([7.0])
    gone = [(flow12, flow21), (flow12 + 5 * shift, flow21), (flow12 + shift, flow21)]
    assert torch.equal(most_credible(image1, image2, gone), flow12 + shift)


def test_one_size_alone_is_the_network_itself():
    network = create("fastflownet").eval()
    image1, image2 = torch.rand(2, 1, 3, 64, 128)
    with torch.no_grad():
        expected = network.both_directions(image1, image2, last_only=True)
        found = AtScales(network, (1.0,)).both_directions(image1, image2)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one[-1], other[-1])


def test_several_sizes_are_more_exact_with_the_shipped_weights():
    from teachers import load

    network = load("fastflownet").eval()
    dataset = Synthetic(length=2, size=(128, 192), motion=(1.0, 4.0), seed=11, texture_count=8)
    errors = []
    for sample in (dataset[0], dataset[1]):
        flows = [Predictor(chosen)(sample.image1, sample.image2) for chosen in (network, AtScales(network))]
        errors.append([np.linalg.norm(flow - sample.flow12, axis=-1).mean() for flow in flows])
    one, several = np.mean(errors, axis=0)
    assert several < 0.9 * one


@pytest.mark.parametrize("scales", [(), (1.0, 0.0), (-1.0, 1.0)])
def test_no_scales_and_those_below_zero_are_refused(scales):
    with pytest.raises(InputError, match="must be positive"):
        AtScales(Translation(), scales)
