import torch
from pictures import constant_flow, texture
from toy import Translation

from mdflow.multi_frame import foretell, hidden_labels

SIZE = (48, 64)


def motions(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 2, *SIZE, generator=torch.Generator().manual_seed(seed)) * 5


def test_motion_that_goes_on_is_foretold_from_a_part_of_the_pixels():
    flow10 = motions()
    flow12 = -flow10 + constant_flow(0.5, -2, *SIZE)  # steady but for an acceleration that all share
    weight = torch.zeros(2, 1, *SIZE)
    weight[..., : SIZE[1] // 2] = 1
    wrong = torch.where(weight > 0, flow12, 100.0)  # what has no weight is not looked at
    assert torch.allclose(foretell(flow10, wrong, weight), flow12, atol=1e-3)


def test_motion_that_grows_over_the_frame_is_foretold():
    x = torch.arange(SIZE[1]).float().expand(2, 1, *SIZE)
    flow10 = motions()
    flow12 = -flow10 + torch.cat([0.1 * x, 0 * x], dim=1)
    assert torch.allclose(foretell(flow10, flow12, torch.ones(2, 1, *SIZE)), flow12, atol=1e-3)


def test_one_motion_of_the_whole_frame_is_foretold_as_it_is():
    flow12 = constant_flow(3, -2, *SIZE, batch=2)
    found = foretell(-flow12, flow12, torch.ones(2, 1, *SIZE))
    assert torch.allclose(found, flow12, atol=1e-2)


def test_labels_are_of_pixels_that_only_the_frame_before_shows():
    """All moves by 3 px and image 2 is said to hide a band; what comes in at an edge the frame before does not show."""
    image, flow12 = texture(*SIZE, seed=1, batch=2), constant_flow(3, 0, *SIZE, batch=2)
    visible = torch.ones(2, 1, *SIZE)
    visible[..., 20:30] = 0
    known = torch.tensor([True, False])
    flow, weight = hidden_labels(Translation(-3, 0), image, image, flow12, visible, known)
    assert torch.allclose(flow[0][:, weight[0, 0] > 0], torch.tensor([[3.0], [0.0]]), atol=1e-2)
    assert weight[0, 0, :, 20:30].all()
    assert float(weight[0].sum()) == SIZE[0] * 10
    assert not weight[1].any()  # it has no frame before


def test_what_is_hidden_does_not_teach_what_is_hidden():
    """The flow to the frame after is wrong in the band that this hides; the labels there follow the other pixels."""
    image, flow12 = texture(*SIZE, seed=1, batch=2), constant_flow(3, 0, *SIZE, batch=2)
    visible = torch.ones(2, 1, *SIZE)
    visible[..., 20:30] = 0
    flow12[..., 20:30] = 50
    flow, weight = hidden_labels(Translation(-3, 0), image, image, flow12, visible, torch.tensor([True, True]))
    assert weight[..., 20:30].all()
    assert torch.allclose(flow[..., 20:30], constant_flow(3, 0, SIZE[0], 10, batch=2), atol=1e-2)


def test_two_frames_that_share_too_little_tell_nothing():
    image, flow12 = texture(*SIZE, seed=1), constant_flow(60, 0, *SIZE)
    visible = torch.zeros(1, 1, *SIZE)
    visible[..., :3] = 1
    assert not hidden_labels(Translation(-60, 0), image, image, flow12, visible, torch.tensor([True]))[1].any()


def test_each_image_needs_enough_of_its_own():
    image, flow12 = texture(*SIZE, seed=1, batch=2), constant_flow(3, 0, *SIZE, batch=2)
    visible = torch.ones(2, 1, *SIZE)
    visible[0, ..., 4:], visible[1, ..., 32:] = 0, 0
    _, weight = hidden_labels(Translation(-3, 0), image, image, flow12, visible, torch.tensor([True, True]))
    assert not weight[0].any() and weight[1].any()
