import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

import mdflow
from mdflow import Predictor
from mdflow.errors import InputError
from mdflow.fitting import FITS
from mdflow.networks import create
from mdflow.networks.network import Features, FlowNetwork
from mdflow.system import processor


class ColourIsFlow(FlowNetwork):
    """Red is the motion to the right and green the motion down, 10 pixels at full brightness."""

    stride = 16

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        return [image1], [image2]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        return [10 * features1[0][:, :2]]


def image_of(height: int, width: int, motion: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = (round(25.5 * part) for part in motion)
    return image


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (5, 3), (1, 1)])
def test_arrays_give_an_array_of_their_size(size):
    image = noise(*size, 3)
    flow = Predictor(ColourIsFlow())(image, image)
    assert flow.dtype == np.float32
    np.testing.assert_allclose(flow, image[..., :2] / 25.5, rtol=1e-5)


@pytest.mark.parametrize("fit", FITS)
def test_a_uniform_motion_survives_padding(fit):
    image = image_of(37, 90, (4, 2))
    flow = Predictor(ColourIsFlow(), fit)(image, image)
    scale = FITS[fit]((37, 90), 16).inner
    # The fake network says 4 and 2 pixels of its own grid, whatever its size.
    np.testing.assert_allclose(flow[..., 0], 4 * 90 / scale[1], rtol=1e-4)
    np.testing.assert_allclose(flow[..., 1], 2 * 37 / scale[0], rtol=1e-4)


def test_tensors_give_a_tensor_for_bytes_and_floats_alike():
    image = torch.from_numpy(noise(2, 3, 20, 30))
    predictor = Predictor(ColourIsFlow())
    flow = predictor(image, image)
    assert flow.shape == (2, 2, 20, 30)
    torch.testing.assert_close(flow, predictor(image / 255, image / 255))
    torch.testing.assert_close(flow, image[:, :2] / 25.5)


def test_both_sees_opposite_flows_as_visible_and_others_as_occluded():
    there, back = image_of(20, 30, (0, 0)), image_of(20, 30, (0, 0))
    both = Predictor(ColourIsFlow()).both(there, back)
    assert both.flow12.shape == (20, 30, 2)
    assert both.visible1.dtype == bool
    assert both.visible1.all()
    moved = Predictor(ColourIsFlow()).both(image_of(20, 30, (5, 0)), back)
    assert not moved.visible1.any()
    np.testing.assert_allclose(moved.flow12[..., 0], 5, atol=0.02)
    np.testing.assert_allclose(moved.flow21, 0)


def test_both_gives_masks_as_tensors_for_tensors():
    image = torch.zeros(2, 3, 20, 30)
    assert Predictor(ColourIsFlow()).both(image, image).visible2.shape == (2, 1, 20, 30)


@pytest.mark.parametrize(
    ("image1", "image2", "sentence"),
    [
        (noise(4, 4, 3), noise(4, 5, 3), "Both images must have one size, got 4x4 and 4x5"),
        (noise(4, 4), noise(4, 4), r"\(H,W,3\) uint8 RGB array, got \(4, 4\)"),
        (noise(4, 4, 3) / 255, noise(4, 4, 3) / 255, "float64"),
        (noise(0, 4, 3), noise(0, 4, 3), "at least one pixel"),
        (torch.zeros(0, 3, 4, 4), torch.zeros(0, 3, 4, 4), r"at least one pixel, got \(0, 3, 4, 4\)"),
        (torch.full((1, 3, 4, 4), 200.0), torch.zeros(1, 3, 4, 4), "divide by 255"),
        (torch.zeros(3, 4, 4), torch.zeros(3, 4, 4), r"got \(3, 4, 4\)"),
        ("a.png", "b.png", "got str"),
    ],
)
def test_unusable_images_are_refused_in_a_sentence(image1, image2, sentence):
    with pytest.raises(InputError, match=sentence):
        Predictor(ColourIsFlow())(image1, image2)


def test_unknown_fit_and_misplaced_size_are_refused():
    with pytest.raises(InputError, match="Unknown fit 'crop'; choose from pad"):
        Predictor(ColourIsFlow(), "crop")
    with pytest.raises(InputError, match="size goes with the fit 'resize'"):
        Predictor(ColourIsFlow(), "pad", size=(64, 64))


def test_half_precision_is_asked_for_by_name_and_gives_float32_flows(monkeypatch):
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: True)
    image1, image2 = torch.rand(2, 1, 3, 64, 64).unbind()
    network = create("fastflownet")
    exact = Predictor(network)(image1, image2)
    half = Predictor(network, precision="bfloat16")(image1, image2)
    assert half.dtype == torch.float32
    assert 0 < (half - exact).norm(dim=1).mean() < 0.05 * exact.norm(dim=1).mean()
    with pytest.raises(InputError, match="Unknown precision 'int4'; choose from float32, bfloat16"):
        Predictor(network, precision="int4")
    monkeypatch.setattr(processor, "has_bfloat16", lambda device: False)
    with pytest.raises(InputError, match="does not compute in bfloat16"):
        Predictor(network, precision="bfloat16")


def test_compiling_without_a_compiler_says_so(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="needs a C\\+\\+ compiler, and no-such-compiler is not installed"):
        Predictor(ColourIsFlow(), compile=True)


def test_many_sizes_may_be_compiled(monkeypatch):
    compiled_for = []

    def backend(graph, _):
        compiled_for.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    predict = Predictor(ColourIsFlow(), compile=True)
    for width in range(1, 11):
        image = noise(16, width * predict.network.stride, 3)
        predict(image, image)
    assert len(compiled_for) == 10


def test_prediction_keeps_no_graph_and_uses_evaluation_mode():
    network = ColourIsFlow().train()
    network.register_parameter("weight", torch.nn.Parameter(torch.ones(1)))
    flow = Predictor(network)(torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16))
    assert not flow.requires_grad
    assert not network.training


def test_import_is_quick_and_loads_no_torch():
    code = "import sys, mdflow; assert 'torch' not in sys.modules; mdflow.Predictor"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_knows_its_version():
    assert mdflow.__version__.count(".") == 2
