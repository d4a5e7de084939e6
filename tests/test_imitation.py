import pytest
import torch
import torch.nn.functional as F
from pictures import constant_flow, texture
from toy import Translation

from mdflow import imitation
from mdflow.config import AugmentConfig, SupervisedConfig
from mdflow.geometry import inside_frame, warp
from mdflow.imitation import imitation_loss

SIZE = (48, 64)
STILL = {"flip_horizontal": 0, "flip_vertical": 0, "zoom": (0, 0), "stretch": 0, "rotation": 0, "eraser": 0}


def pair():
    return texture(*SIZE, seed=1, batch=2), texture(*SIZE, seed=2, batch=2)


def labels(dx: float, dy: float):
    flow = constant_flow(dx, dy, *SIZE, batch=2)
    return flow, -flow


def masks(value: float = 1):
    return tuple(torch.full((2, 1, *SIZE), value) for _ in range(2))


def loss(network, flows, weights, **changes):
    config = AugmentConfig(crop=SIZE, **(STILL | changes))
    return imitation_loss(network, pair(), flows, weights, config, SupervisedConfig())


def test_a_network_that_says_what_the_labels_say_has_nothing_to_learn():
    assert loss(Translation(3, -2), labels(3, -2), masks()) < 1e-4


def test_the_distance_is_that_of_both_directions():
    assert float(loss(Translation(0, 0), labels(3, 4), masks()).detach()) == pytest.approx(5, rel=1e-4)
    there, back = labels(3, 4)
    assert float(loss(Translation(3, 4), (there, 0 * back), masks()).detach()) == pytest.approx(2.5, rel=1e-3)


def test_only_what_is_trusted_counts():
    assert loss(Translation(0, 0), labels(3, 4), masks(0)).detach() == 0
    weights = masks()
    flows = labels(3, 4)
    for flow, weight in zip(flows, weights, strict=True):
        flow[..., :20] = 100
        weight[..., :20] = 0
    assert loss(Translation(3, 4), flows, weights) < 1e-3


def test_labels_are_augmented_as_the_images_are():
    assert loss(Translation(-3, -2), labels(3, -2), masks(), flip_horizontal=1) < 1e-4
    assert loss(Translation(6, -4), labels(3, -2), masks(), zoom=(1, 1)) < 1e-3


def test_labels_follow_frames_that_are_moved_apart(monkeypatch):
    """In both directions: frame 2 at the label's end shows frame 1."""
    seen = {}

    def look(network, image1, image2, target, weight, config):
        seen.update(image1=image1, image2=image2, target=target, weight=weight)
        return torch.zeros(())

    monkeypatch.setattr(imitation, "judged_loss", look)
    coarse = torch.rand(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    wide = F.interpolate(coarse, (SIZE[0], SIZE[1] + 3), mode="bicubic", align_corners=False)
    torch.manual_seed(0)
    augment = AugmentConfig(crop=(36, 48), **(STILL | {"relative": 6, "flip_horizontal": 0.5}))
    images = wide[..., 3:], wide[..., :-3]  # all moves right by 3 px
    imitation_loss(Translation(), images, labels(3, 0), masks(), augment, SupervisedConfig())
    known = (seen["weight"] > 0) & (inside_frame(seen["target"]) > 0)
    assert (known.float().mean((1, 2, 3)) > 0.5).all()
    error = (warp(seen["image2"], seen["target"]) - seen["image1"]).abs().amax(1, keepdim=True)
    assert float(error[known].max()) < 0.05


def test_labels_take_no_gradient_and_the_network_does():
    network = Translation(0, 0)
    flows = [flow.requires_grad_() for flow in labels(3, 4)]
    loss(network, flows, masks()).backward()
    assert network.motion.grad.norm() > 0.5
    assert all(flow.grad is None for flow in flows)


def test_boxes_are_taken_out_of_the_frame_that_is_looked_up_only():
    torch.manual_seed(0)
    network = Translation(0, 0)
    loss(network, labels(0, 0), masks(), eraser=1, eraser_size=(10, 12))
    seen1, seen2 = network.seen
    image1, image2 = pair()
    expected1, expected2 = torch.cat([image1, image2]), torch.cat([image2, image1])
    assert torch.allclose(seen1, expected1, atol=1e-4)
    changed = ((seen2 - expected2).abs() > 1e-3).flatten(1).sum(1)
    assert (changed > 0).all()
