import math

import pytest
import torch
from pictures import constant_flow, texture
from torch import Tensor
from toy import Translation

from mdflow.config import DistillConfig, SupervisedConfig
from mdflow.distill import teach_teacher
from mdflow.errors import InputError
from mdflow.losses import supervised_loss
from mdflow.networks import create
from mdflow.networks.network import FlowNetwork
from mdflow.uncertainty import SMALLEST, deviations, judged_loss, sureness, uncertainty_loss
from teachers import load

SIZE = (48, 64)


class Foretelling(Translation):
    """Says that everything moves by (dx, dy), give or take exp(α/2) pixels."""

    def __init__(self, dx: float, dy: float, log_variance: float) -> None:
        super().__init__(dx, dy)
        self.uncertainty = torch.nn.Parameter(torch.tensor(float(log_variance)))

    def estimate_with_uncertainty(self, features1, features2) -> tuple[list[Tensor], list[Tensor]]:
        flows = self.estimate(features1, features2)
        return flows, [self.uncertainty.expand_as(flow[:, :1]) for flow in flows]


def pair() -> tuple[Tensor, Tensor]:
    return texture(*SIZE, seed=1), texture(*SIZE, seed=2)


def test_the_best_deviation_is_that_of_the_error():
    target, flow = constant_flow(0, 0, *SIZE), constant_flow(3, -2, *SIZE)
    best = 2 * torch.log(torch.tensor(2**0.5 * (5 + SMALLEST)))
    slopes = []
    for alpha in (best - 1, best, best + 1):
        alpha = alpha.clone().requires_grad_()
        uncertainty_loss(flow, alpha.expand(1, 1, *SIZE), target, torch.ones(1, 1, *SIZE)).backward()
        slopes.append(float(alpha.grad))
    assert slopes[0] < -0.1
    assert slopes[1] == pytest.approx(0, abs=1e-5)
    assert slopes[2] > 0.1


def test_what_has_no_weight_is_not_foretold():
    target, flow, weight = constant_flow(0, 0, *SIZE), constant_flow(3, -2, *SIZE), torch.zeros(1, 1, *SIZE)
    assert float(uncertainty_loss(flow, torch.ones(1, 1, *SIZE), target, weight)) == 0


def test_foretelling_is_added_to_the_distance_and_moves_no_flow():
    network, target, weight = Foretelling(3, -2, 0), constant_flow(0, 0, *SIZE), torch.ones(1, 1, *SIZE)
    plain = judged_loss(network, *pair(), target, weight, SupervisedConfig())
    assert torch.equal(plain, supervised_loss(network(*pair()), target, weight, SupervisedConfig()))
    plain.backward()
    slope = network.motion.grad.clone()
    network.motion.grad = None
    both = judged_loss(network, *pair(), target, weight, SupervisedConfig(uncertainty=0.5))
    both.backward()
    assert float((both - plain).detach()) == pytest.approx(0.5 * 2**0.5 * (5 + SMALLEST), rel=1e-4)
    assert torch.equal(network.motion.grad, slope)
    assert network.uncertainty.grad < 0  # it was too sure


class Refining(Translation):
    """Foretells, at two iterations, first nonsense and then the first frame's brightness."""

    uncertainty = True

    def estimate_with_uncertainty(self, features1, features2) -> tuple[list[Tensor], list[Tensor]]:
        (flow,) = self.estimate(features1, features2)
        last = 2 * torch.log(features1[0].mean((1, 2, 3), keepdim=True))
        return [flow, flow], [torch.full_like(flow[:, :1], 9.0), last.expand_as(flow[:, :1])]


def test_what_earlier_iterations_foretell_counts_less():
    network, white = Refining(3, -2), torch.ones(1, 3, *SIZE)
    target, weight = constant_flow(0, 0, *SIZE), torch.ones(1, 1, *SIZE)
    without, foretold = (
        judged_loss(network, white, white, target, weight, SupervisedConfig(gamma=0.5, uncertainty=share)).detach()
        for share in (1e-9, 1.0)
    )
    first, last = (2**0.5 * math.exp(-alpha / 2) * (5 + SMALLEST) + alpha / 2 for alpha in (9.0, 0.0))
    assert float(foretold - without) == pytest.approx(0.5 * first + last, rel=1e-4)


def test_only_a_network_with_a_head_can_foretell():
    with pytest.raises(InputError, match="uncertainty=true"):
        judged_loss(Translation(), *pair(), constant_flow(0, 0, *SIZE), torch.ones(1), SupervisedConfig(uncertainty=1))


def test_deviations_fit_frames_of_any_size():
    network = create("raft_small", iterations=1, uncertainty=True)
    found = deviations(network, *torch.rand(2, 1, 3, 50, 70))
    assert [each.shape for each in found] == [(1, 1, 50, 70)] * 2
    assert all((each == 1).all() for each in found)  # a new head knows nothing: one pixel everywhere


def test_deviations_are_those_of_each_directions_last_flow():
    dark, bright = torch.full((1, 3, *SIZE), 0.25), torch.full((1, 3, *SIZE), 0.75)
    found = [float(each.mean()) for each in deviations(Refining(), dark, bright)]
    assert found == pytest.approx([0.25, 0.75], rel=1e-4)


def test_sureness_falls_with_the_deviation():
    sure, unsure = (sureness(Foretelling(0, 0, alpha), *pair(), scale=2)[0] for alpha in (0, 2))
    assert float(sure.mean()) == pytest.approx(2.718281828**-0.5, rel=1e-4)
    assert float(unsure.mean()) == pytest.approx(2.718281828 ** (-2.718281828 / 2), rel=1e-4)


def test_labels_of_an_unsure_student_count_less():
    config = DistillConfig(
        augment={
            "crop": SIZE, "flip_horizontal": 0, "flip_vertical": 0, "zoom": (0, 0), "stretch": 0, "rotation": 0,
            "eraser": 0,
        },
        loss={"occlusion": "none"},
        unsupervised=0,
        confidence={"deviation": 1.0},
        supervised={"uncertainty": 0.005},  # of the student's learning; the network that learns here has no head
    )  # fmt: skip
    image1, image2 = (torch.cat([image, image]) for image in pair())
    batch = {"image1": image1, "image2": image2, "coloured1": image1, "coloured2": image2}
    half = HalfSure(3, 0)
    supervised = teach_teacher(half, Translation(0, 0), config, batch, 0.5)["supervised"]
    assert float(supervised.detach()) == pytest.approx(3, rel=1e-3)  # only the half that it is sure of, 3 px off


class HalfSure(Foretelling):
    """Right about the left half and sure of it; wildly wrong about the right half, and knows it."""

    def __init__(self, dx: float, dy: float) -> None:
        super().__init__(dx, dy, 0)

    def estimate(self, features1, features2) -> list[Tensor]:
        flow = super().estimate(features1, features2)[-1].clone()
        flow[..., flow.shape[-1] // 2 :] *= 100
        return [flow]

    def estimate_with_uncertainty(self, features1, features2) -> tuple[list[Tensor], list[Tensor]]:
        flow = self.estimate(features1, features2)[-1]
        right = (torch.arange(flow.shape[-1]) >= flow.shape[-1] // 2).float()
        return [flow], [(-10 + 20 * right).expand_as(flow[:, :1])]


def test_trained_weights_without_a_head_start_one():
    network: FlowNetwork = load("raft_small", uncertainty=True, iterations=1)
    known = load("raft_small", iterations=1)
    images = torch.rand(2, 1, 3, 64, 64)
    assert torch.equal(network(*images)[-1], known(*images)[-1])
    assert all((each == 1).all() for each in deviations(network, *images))


def test_what_is_too_fast_to_be_judged_is_not_foretold_either():
    network, target = Foretelling(3, -2, 0), constant_flow(500, 0, *SIZE)
    config = SupervisedConfig(uncertainty=0.5, largest=400)
    assert float(judged_loss(network, *pair(), target, torch.ones(1, 1, *SIZE), config).detach()) == 0
