import json

import numpy as np
import pytest
import torch

from mdflow.data.io import read_flow, read_image
from mdflow.data.video import Video
from mdflow.demo_page.viewing import Estimate, Viewing, colour_wheel, confidence_map, estimate
from mdflow.inference import Predictor
from tests.pictures import constant_flow, shifted_pair
from tests.toy import Translation


def frames(dx: int = 3, dy: int = -2, size: tuple[int, int] = (40, 60)) -> list[np.ndarray]:
    """Two views of a texture that moves by (dx, dy)."""
    pair = shifted_pair(dx, dy, *size)
    return [(255 * image[0].permute(1, 2, 0)).round().byte().numpy() for image in pair]


def make_view(folder, networks: int) -> Viewing:
    image1, image2 = frames()
    estimates = [estimate(Predictor(Translation(3, -2 - k)), image1, image2) for k in range(networks)]
    view = Viewing(folder / "view", "clip", [f"network {k}" for k in range(networks)], rate=8, total=2)
    with view:
        for name in ("000000", "000001"):
            view.write(name, image1, image2, estimates)
    return view


def test_confidence_is_high_where_the_flow_is_right_and_zero_where_it_leaves_the_frame():
    image1, image2 = shifted_pair(3, -2, 40, 60)
    right, back = constant_flow(3, -2, 40, 60), constant_flow(-3, 2, 40, 60)
    confidence = confidence_map(image1, image2, right, back)[0, 0]
    assert confidence[8:-8, 8:-8].min() > 0.95
    assert confidence[:, -3:].max() == 0
    assert confidence[:2].max() == 0
    wrong = confidence_map(image1, image2, -right, -back)[0, 0]
    assert wrong[8:-8, 8:-8].mean() < 0.5


def test_confidence_is_zero_where_the_directions_disagree():
    image1, image2 = shifted_pair(3, 0, 40, 60)
    assert confidence_map(image1, image2, constant_flow(3, 0, 40, 60), constant_flow(3, 0, 40, 60)).max() == 0


def test_an_estimate_has_the_frames_size_and_scores_the_right_flow_better():
    image1, image2 = frames()
    right, wrong = (estimate(Predictor(Translation(dx, -2)), image1, image2) for dx in (3, -3))
    assert right.flow12.shape == (40, 60, 2)
    assert right.visible1.shape == right.confidence.shape == (40, 60)
    assert (right.flow12[5, 7] == [3, -2]).all()
    assert right.score < wrong.score


def test_a_view_holds_all_that_the_viewer_asks_for(tmp_path):
    view = make_view(tmp_path, networks=2)
    described = json.loads(json.dumps(view.describe()))
    assert (described["height"], described["width"], described["total"]) == (40, 60, 2)
    assert described["film"]
    kinds = ["colour0", "occlusion0", "confidence0", "colour1", "occlusion1", "confidence1", "difference"]
    for pair in described["pairs"]:
        assert len(pair["scores"]) == 2
        for kind in kinds:
            assert read_image(view.folder / kind / f"{pair['name']}.png").shape == (40, 60, 3)
        for kind in ("frame1", "frame2"):
            assert read_image(view.folder / kind / f"{pair['name']}.jpg").shape == (40, 60, 3)
    flow, _ = read_flow(view.folder / "flow1" / "000001.flo")
    assert (flow == [3, -3]).all()
    assert read_image(view.folder / "difference" / "000000.png").max() > 0
    assert len(Video(view.folder / "film.mp4")) == 2


def test_pictures_of_unlike_flows_share_one_scale(tmp_path):
    image1, image2 = frames()
    still = np.ones((40, 60), bool)
    slow, fast = (Estimate(np.full((40, 60, 2), speed, np.float32), still, still * 1.0, 0.0) for speed in (1, 8))
    with Viewing(tmp_path / "view", "clip", ["slow", "fast"], rate=8, total=1) as view:
        view.write("0", image1, image2, [slow, fast])
    assert view.pairs[0]["scale"] == pytest.approx(8 * 2**0.5, rel=1e-3)
    pale, full = (read_image(view.folder / f"colour{k}" / "0.png") for k in (0, 1))
    assert pale.min() > full.min()


def test_a_view_that_was_broken_off_has_no_film(tmp_path):
    view = Viewing(tmp_path / "view", "clip", ["a"], rate=8, total=2)
    with pytest.raises(KeyboardInterrupt), view:
        image1, image2 = frames()
        view.write("0", image1, image2, [estimate(Predictor(Translation(3, -2)), image1, image2)])
        raise KeyboardInterrupt
    assert not view.describe()["film"]


def test_the_wheel_shows_right_as_red_and_standing_still_as_white():
    wheel = colour_wheel(33)
    assert wheel.shape == (33, 33, 3)
    assert tuple(wheel[16, 32]) == (255, 0, 0)
    assert wheel[16, 16].min() > 240
    assert (wheel[0, 0] == 255).all()


def test_an_estimate_leaves_no_gradient():
    image1, image2 = frames()
    network = Translation(1, 1)
    estimate(Predictor(network), image1, image2)
    assert network.motion.grad is None
    assert torch.is_grad_enabled()
