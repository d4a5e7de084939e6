"""One export of the shipped FastFlowNet at a small odd size serves all tests here: it takes ten seconds."""

import copy
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from mdflow.checkpoint import save_network
from mdflow.commands import main
from mdflow.commands.export import images_of
from mdflow.correlation import LocalCorrelation
from mdflow.data.io import read_flow, write_image
from mdflow.data.synthetic import Synthetic
from mdflow.deployment.calibration import calibrate
from mdflow.deployment.export import FOLDED, OPSET, compare, obstacle, to_onnx, write_model
from mdflow.deployment.integer import put_integers, to_integer_onnx
from mdflow.deployment.quantize import IntegerConvolution, convolutions, quantize
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError
from mdflow.evaluate import evaluate
from mdflow.geometry import resize_flow, warp
from mdflow.inference import Predictor, image_tensor
from mdflow.networks.network import FlowNetwork
from teachers import load

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIZE = (60, 70)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scenes():
    return Synthetic(length=2, size=SIZE, motion=(1.0, 4.0), seed=3, texture_count=4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The network, its model and its file."""
    network = load("fastflownet")
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # the exporter's own would tell a user nothing
        model = to_onnx(network, SIZE)
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    write_model(model, path)
    return network, model, path


def test_the_file_gives_the_flow_of_pytorch_at_an_odd_size(exported, scenes):
    network, _, path = exported
    found = compare(network, path, scenes)
    assert found.largest_flow > 0.5
    assert found.mean < 1e-4 * found.largest_flow
    assert OnnxPredictor(path)(scenes[0].image1, scenes[0].image2).shape == (*SIZE, 2)


def test_a_file_needs_nothing_but_standard_operators(exported):
    _, model, _ = exported
    assert {node.domain for node in model.graph.node} == {""}
    assert [one.version for one in model.opset_import if one.domain == ""] == [OPSET]
    assert not model.functions


def test_a_file_holds_weights_and_computes_the_places_of_pixels():
    model = to_onnx(load("fastflownet", fine_iterations=0), (192, 640))
    large = [one.name for one in model.graph.initializer if np.prod(one.dims) > FOLDED]
    assert large
    assert all(name.endswith(".weight") for name in large)


def test_smaller_images_are_padded_and_larger_ones_refused(exported, scenes):
    network, _, path = exported
    images = [image[2:-1, 3:-4] for image in (scenes[0].image1, scenes[0].image2)]
    margins = ((1, 2), (3, 4), (0, 0))
    padded = [np.pad(image, margins, mode="edge") for image in images]
    expected = Predictor(network)(*padded)[1:-2, 3:-4]
    assert np.abs(OnnxPredictor(path)(*images) - expected).mean() < 1e-3
    with pytest.raises(InputError, match=r"takes images of up to 60x70, got 61x70; export it with that --size"):
        OnnxPredictor(path)(*np.zeros((2, 61, 70, 3), np.uint8))


def test_a_process_that_is_confined_to_one_core_starts_one_thread(exported, monkeypatch):
    def threads():
        return OnnxPredictor(exported[2]).session.get_session_options().intra_op_num_threads

    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {2}, raising=False)
    assert threads() == 1
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    assert threads() == 0
    monkeypatch.delattr("os.sched_getaffinity")
    assert threads() == 0


@pytest.mark.parametrize("flags", [[], ["--both"]])
def test_predict_runs_a_file_without_pytorch(exported, scenes, tmp_path, flags):
    for name, image in (("a", scenes[0].image1), ("b", scenes[0].image2)):
        write_image(tmp_path / f"{name}.png", image)
    arguments = ["predict", "--onnx", str(exported[2]), *(str(tmp_path / f"{name}.png") for name in "ab"), *flags]
    code = (
        "import sys; sys.modules['torch'] = None; from mdflow.commands import main; "
        f"sys.exit(main({[*arguments, '-o', str(tmp_path / 'out')]}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    flow, _ = read_flow(tmp_path / "out" / "flow" / "a.flo")
    assert np.abs(flow - Predictor(exported[0])(scenes[0].image1, scenes[0].image2)).mean() < 1e-3


def test_both_directions_are_those_of_the_network_from_arrays_and_tensors(exported, scenes):
    network, _, path = exported
    images = (scenes[0].image1, scenes[0].image2)
    arrays, expected = (one.both(*images) for one in (OnnxPredictor(path), Predictor(network)))
    assert np.abs(arrays.flow21 - expected.flow21).mean() < 1e-3
    assert arrays.visible1.dtype == bool and (arrays.visible1 == expected.visible1).mean() > 0.995
    tensors = OnnxPredictor(path).both(*map(image_tensor, images))
    assert tensors.visible2.shape == (1, 1, *SIZE) and tensors.flow12.shape == (1, 2, *SIZE)
    assert np.array_equal(tensors.visible2[0, 0].numpy() > 0.5, arrays.visible2)
    assert np.array_equal(tensors.flow12[0].permute(1, 2, 0).numpy(), arrays.flow12)


def test_a_file_is_evaluated_like_a_network_with_and_without_labels(exported, scenes):
    network, _, path = exported
    found, expected = (evaluate(one, scenes, label_free=True) for one in (OnnxPredictor(path), network))
    assert found.keys() == expected.keys()
    assert found["epe"] == pytest.approx(expected["epe"], rel=1e-3)
    assert found["score"] == pytest.approx(expected["score"], rel=1e-3)


def test_the_integer_file_does_what_its_simulation_does_in_less_than_a_third_of_the_bytes(exported, scenes, tmp_path):
    network, model, path = exported
    ranges = calibrate(network, [scenes[0], scenes[1]]).ranges
    in_floats = ["pconv1_1.0", "decoder4.conv3.0", "decoder5.conv7"]
    quantized = quantize(network, ranges, ranges.keys() - in_floats)
    write_model(put_integers(copy.deepcopy(model), convolutions(quantized)), tmp_path / "int.onnx")
    assert (tmp_path / "int.onnx").stat().st_size < 0.3 * path.stat().st_size
    rounding = compare(network, tmp_path / "int.onnx", scenes).mean
    # A value near the middle between two steps may fall to either side: far less than what rounding changes.
    assert compare(quantized, tmp_path / "int.onnx", scenes).mean < 0.6 * rounding
    constants = onnx.load(tmp_path / "int.onnx").graph.initializer
    assert {one.data_type for one in constants if one.name.endswith("weight8")} == {onnx.TensorProto.INT8}
    assert not any(one.data_type == onnx.TensorProto.FLOAT and np.prod(one.dims) > FOLDED for one in constants)


def test_a_quantised_network_is_not_exported_as_if_it_were_none(exported, scenes):
    network, _, _ = exported
    ranges = dict.fromkeys(["decoder2.conv7"], calibrate(network, [scenes[0]]).ranges["decoder2.conv7"])
    with pytest.raises(InputError, match="is quantised; export it with --int8"):
        to_onnx(quantize(network, ranges, ranges), (64, 128))


def test_a_layer_that_is_not_in_the_graph_is_named(exported):
    network, model, _ = exported
    layers = {"decoder9": IntegerConvolution(network.decoder2.conv7)}
    with pytest.raises(InputError, match="exported graph has no convolution decoder9"):
        put_integers(copy.deepcopy(model), layers)


def test_what_stands_in_the_way_of_an_export_is_named():
    class Branch(torch.nn.Module):
        def forward(self, x):
            raise RuntimeError("depends on the data\nsecond line")

    network = torch.nn.Sequential(torch.nn.Identity(), Branch())
    try:
        network(torch.zeros(1))
    except RuntimeError as error:
        wrapped = ValueError("the exporter failed")
        wrapped.__cause__ = error
        assert obstacle(wrapped, network) == "1: RuntimeError: depends on the data"


def test_the_command_exports_checks_and_says_what_the_file_takes(tmp_path, capsys, monkeypatch, exported):
    _, model, _ = exported
    monkeypatch.setattr("mdflow.commands.export.to_onnx", lambda *_: model)
    command = ["export", "--network", "fastflownet", "-o", str(tmp_path / "m.onnx"), "--size", "60x70"]
    assert main(command) == 0
    assert "60x70 in, (1,2,H,W) float32 flow in pixels out" in capsys.readouterr().out.replace("\n", " ")
    other = copy.deepcopy(model)
    for one in other.graph.initializer:
        if one.name == "network.decoder2.conv7.bias":
            one.CopyFrom(onnx.numpy_helper.from_array(np.ones(2, np.float32), one.name))
    monkeypatch.setattr("mdflow.commands.export.to_onnx", lambda *_: other)
    assert main([*command, "--overwrite"]) == 2
    assert "'fastflownet' differs from PyTorch by" in capsys.readouterr().err
    assert not (tmp_path / "m.onnx").exists()


def test_the_command_exports_the_integers_of_a_quantised_network(tmp_path, capsys, monkeypatch, exported):
    network, model, _ = exported
    ranges = calibrate(network, images_of("synthetic", SIZE, any_size=False)).ranges
    # The features alone: on frames this small the decoders round what moves the flow by tenths of a pixel.
    integers = [name for name in ranges if "decoder" not in name]
    quantized = quantize(network, ranges, integers)
    layers = {name: quantized.get_submodule(name) for name in integers}
    save_network(tmp_path / "calibration.safetensors", quantized)
    command = ["export", "--network", "fastflownet", "-o", str(tmp_path / "m.onnx"), "--size", "60x70", "--int8"]
    assert main(command) == 2
    assert "'fastflownet' has no quantised convolution" in capsys.readouterr().err
    monkeypatch.setattr("mdflow.commands.export.to_integer_onnx", lambda *_: put_integers(copy.deepcopy(model), layers))
    assert main([*command, "--checkpoint", str(tmp_path / "calibration.safetensors")]) == 0
    assert any(one.name.endswith("weight8") for one in onnx.load(tmp_path / "m.onnx").graph.initializer)


def test_a_file_for_any_size_is_checked_at_two():
    sizes = [sample.image1.shape[:2] for sample in images_of("synthetic", (60, 70), any_size=True)]
    assert sizes == 3 * [(60, 70)] + 3 * [(41, 35)]


class Small(FlowNetwork):
    """One level of a pyramid: features at a quarter, the cost volume, what it says warped back."""

    name, stride = "small", 8

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = torch.nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.decoder = torch.nn.Conv2d(9, 2, 3, padding=1)
        self.correlate = LocalCorrelation(1)

    def encode(self, image1, image2):
        return [self.features(image1)], [self.features(image2)]

    def estimate(self, features1, features2):
        coarse = self.decoder(self.correlate(features1[0], features2[0]))
        fine = self.decoder(self.correlate(features1[0], warp(features2[0], coarse)))
        height, width = fine.shape[-2:]
        return [resize_flow(fine, (4 * height, 4 * width))]


@pytest.mark.skipif(torch.__version__ < "2.12", reason="torch 2.11 cannot trace the cost volume for any size")
def test_a_file_for_any_size_gives_the_flow_of_pytorch_at_every_size(tmp_path):
    network = Small().eval()
    write_model(to_onnx(network, (32, 40), dynamic=True, kind="float"), tmp_path / "m.onnx")
    for size in ((32, 40), (16, 16), (70, 61), (40, 150)):
        found = compare(network, tmp_path / "m.onnx", Synthetic(length=1, size=size, texture_count=4))
        assert found.largest < 1e-4 < found.largest_flow


@pytest.mark.skipif(torch.__version__ < "2.12", reason="torch 2.11 cannot trace the cost volume for any size")
def test_the_integers_of_a_file_for_any_size_are_those_of_the_simulation_at_every_size(tmp_path):
    quantized = quantize(Small().eval(), {}, [])
    write_model(to_integer_onnx(quantized, (32, 40), dynamic=True, kind="float"), tmp_path / "m.onnx")
    assert "MatMulInteger" in {node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node}
    for size in ((32, 40), (70, 61), (40, 150)):
        found = compare(quantized, tmp_path / "m.onnx", Synthetic(length=1, size=size, texture_count=4))
        assert found.mean < 1e-3 < found.largest_flow
