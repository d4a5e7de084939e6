import re

import pytest
import torch
from torch import nn
from toy import Pairs

from mdflow.checkpoint import load_network, save_network
from mdflow.commands import main
from mdflow.commands.quantize import fits
from mdflow.deployment.calibration import calibrate
from mdflow.deployment.integer_correlation import IntegerCorrelation
from mdflow.deployment.quantize import (
    Grid,
    IntegerConvolution,
    Ranges,
    RoundedConvolution,
    Rounding,
    convolutions,
    fine_channels,
    fold_normalization,
    quantize,
    weight_scales,
    with_float_convolutions,
)
from mdflow.kernels.native import without_kernels
from mdflow.networks import create


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 2.0), (-3.0, -1.0), (0.0, 0.0)])
def test_a_grid_holds_zero_and_rounds_to_half_a_step(low, high):
    grid = Grid.over(low, high)
    x = torch.linspace(min(low, 0), max(high, 0), 1001)
    rounded = grid.round(x)
    assert (rounded - x).abs().max() <= 0.51 * grid.scale + 1e-6
    assert grid.round(torch.zeros(1)) == 0
    assert len(rounded.unique()) <= 256


def test_each_output_channel_has_a_grid_of_its_own():
    weight = torch.tensor([1.0, -0.01]).view(2, 1, 1, 1) * torch.linspace(0.5, 1, 9).view(1, 1, 3, 3)
    torch.testing.assert_close(weight_scales(weight), torch.tensor([1.0, 0.01]) / 127)


def test_a_rounded_convolution_computes_in_floats_with_weights_of_255_values_and_passes_gradients_on():
    torch.manual_seed(0)
    original, x = nn.Conv2d(16, 3, 5, padding=2, stride=2, bias=False), torch.randn(1, 16, 9, 9)
    layer, steps = RoundedConvolution(original), weight_scales(original.weight).view(-1, 1, 1, 1)
    expected = nn.functional.conv2d(x, (original.weight / steps).round() * steps, stride=2, padding=2)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    assert not torch.allclose(layer(x), original(x), atol=1e-3)
    layer(x).square().sum().backward()
    assert layer.weight.grad.abs().min() > 0
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16


def test_an_integer_convolution_is_near_the_float_one_and_passes_gradients_on():
    torch.manual_seed(0)
    original, x = nn.Conv2d(4, 6, 3, padding=1, groups=2), torch.randn(1, 4, 8, 8)
    layer = IntegerConvolution(original)
    layer.input_range.copy_(torch.tensor([x.min(), x.max()]))
    y = original(x)
    layer.output_range.copy_(torch.stack(y.detach().aminmax()))
    error = (layer(x) - y).abs().max()
    assert 0 < error < 0.02 * y.abs().max()
    layer(x).square().sum().backward()
    assert layer.weight.grad.abs().min() > 0


def test_the_channels_that_weigh_most_have_a_second_digit():
    torch.manual_seed(0)
    original = nn.Conv2d(6, 4, 3, padding=1)
    with torch.no_grad():
        original.weight[:, [1, 4]] += 0.2  # a slow change of these two moves the output most
    layer = IntegerConvolution(original)
    assert set(layer.fine[:2].tolist()) == {1, 4}
    x = torch.zeros(1, 6, 8, 8)
    x[:, [1, 4]] = torch.tensor([0.137, -0.261]).view(1, 2, 1, 1)  # between the steps of 0.08
    layer.input_range.copy_(torch.tensor([-10.0, 10.0]))
    layer.output_range.copy_(torch.tensor([-1.0, 1.0]))
    assert (layer(x) - original(x)).abs().max() < 0.02
    layer.fine = layer.fine[:0]
    assert (layer(x) - original(x)).abs().max() > 0.04


def test_what_a_grid_clips_of_a_flow_comes_with_the_other_sign():
    torch.manual_seed(0)
    original = nn.Conv2d(6, 4, 1)
    layer = IntegerConvolution(original)
    layer.fine.copy_(fine_channels(original, lowest=(2, 5)))
    assert set(layer.fine[:2].tolist()) == {2, 5}
    layer.input_range.copy_(torch.tensor([-1.0, 8.0]))
    layer.output_range.copy_(torch.tensor([-10.0, 10.0]))
    x = torch.zeros(1, 6, 1, 3)
    x[:, 2] = torch.tensor([-7.03, -8.0, 9.0])
    x[:, 5] = torch.tensor([8.9, 0.52, -6.0])
    assert (layer(x) - original(x)).abs().max() < 0.08
    x[:, 1] = x[:, 2]  # a channel without a mirrored one
    assert (layer(x) - original(x)).abs().max() > 0.5


def test_the_channels_that_go_the_lowest_are_the_mirrored_ones():
    torch.manual_seed(0)
    network = create("fastflownet").eval()
    name = "decoder2.conv1.0"
    integers = quantize(network, {name: Ranges((0.0, 1.0), (0.0, 1.0), lowest=(3, 70))}, [name])
    assert set(integers.get_submodule(name).fine[:2].tolist()) == {3, 70}


def test_correlations_of_a_quantised_network_are_of_integers():
    network = create("fastflownet").eval()
    integers = quantize(network, {}, [])
    assert isinstance(integers.correlate, IntegerCorrelation)
    assert not isinstance(network.correlate, IntegerCorrelation)
    assert integers.correlate.displacements == network.correlate.displacements


def test_weights_that_cancel_need_no_second_digit():
    original = nn.Conv2d(6, 4, 3)
    with torch.no_grad():
        original.weight.fill_(0.01)
        original.weight[:, [1, 4]] = 0.1
        original.weight[:, 0] = torch.tensor([[1.0, -1, 1], [-1, 0, 1], [-1, 1, -1]])
    assert set(IntegerConvolution(original).fine[:2].tolist()) == {1, 4}


def rounded(x, ends):
    """Rounding by differentiable operations alone, every rounding as if it were none."""

    def whole(value):
        return value + (value.round() - value).detach()

    low, high = ends
    scale = (high - low) / 255
    zero = whole(-low / scale)
    return (whole((x / scale + zero).clamp(0, 255)) - zero) * scale


@pytest.mark.parametrize("ends", [(-1.2, 2.3), (0.0, 1.7), (-2.0, 0.0)])
def test_the_ends_of_a_grid_learn_as_plain_operations_have_it(ends):
    torch.manual_seed(0)
    x, pull = 2 * torch.randn(500), torch.randn(500)
    gradients = []
    for rounding in (Rounding.apply, rounded):
        values, learning = x.clone().requires_grad_(), torch.tensor(ends, requires_grad=True)
        y = rounding(values, learning)
        gradients.append(torch.autograd.grad((pull * y).sum(), [values, learning]))
    for ours, plain in zip(*gradients, strict=True):
        assert torch.allclose(ours, plain, atol=1e-3)


@pytest.mark.parametrize("factor", [0.4, 6.0])
def test_ends_that_clip_too_much_or_too_little_move_to_where_less_is_lost(factor):
    torch.manual_seed(0)
    original, x = nn.Conv2d(4, 4, 3, padding=1), torch.randn(8, 4, 16, 16)
    layer = IntegerConvolution(original)
    layer.input_range.copy_(factor * torch.tensor([-4.0, 4.0]))
    layer.output_range.copy_(torch.tensor([-5.0, 5.0]))
    optimiser = torch.optim.Adam([layer.input_stretch], lr=1e-3)
    losses = []
    for _ in range(60):
        loss = (layer(x) - original(x)).square().mean()
        losses.append(float(loss.detach()))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1] < 0.5 * losses[0]
    assert 2.5 < float(layer.ends[0][1].detach()) < 6


@pytest.mark.parametrize(("inputs", "groups", "digits"), [(87, 1, 3), (2, 1, 2), (3, 1, 3), (96, 1, 0), (6, 3, 0)])
def test_mirrored_channels_and_second_digits_fill_up_to_a_multiple_of_four(inputs, groups, digits):
    assert len(IntegerConvolution(nn.Conv2d(inputs, 6, 3, groups=groups)).fine) == digits


@pytest.mark.parametrize("ends", [(0.0, 5.0), (-5.0, 0.0), (-5.0, 0.01)])
def test_a_grid_with_second_digits_has_room_for_both_signs(ends):
    layer = IntegerConvolution(nn.Conv2d(6, 4, 1))
    layer.input_range.copy_(torch.tensor(ends))
    grid = layer.grids[0]
    halves = torch.tensor([-0.5, 0.5]) * 16 * grid.scale
    assert (grid.round(halves) - halves).abs().max() <= grid.scale


def test_batch_normalisation_goes_into_the_convolutions():
    torch.manual_seed(0)
    network = create("lightflow", width=0.25)
    images = torch.rand(2, 1, 3, 128, 128)
    with torch.no_grad():
        network(*images)  # running statistics other than those of the start
        network.eval()
        before = network(*images)[-1]
        fold_normalization(network)
        assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
        assert torch.allclose(network(*images)[-1], before, atol=1e-4 * float(before.abs().max()))


@pytest.fixture(scope="module")
def quantized():
    """A small network, what its convolutions see, and its integer version."""
    torch.manual_seed(0)
    network = create("lightflow", width=0.1).eval()
    fold_normalization(network)
    ranges = calibrate(network, [Pairs()[0], Pairs()[1]]).ranges
    return network, ranges, quantize(network, ranges, ranges)


def test_calibration_sees_every_convolution(quantized):
    network, ranges, integers = quantized
    assert set(ranges) == set(convolutions(network))
    assert all(isinstance(layer, IntegerConvolution) for layer in convolutions(integers).values())
    assert not any(isinstance(layer, IntegerConvolution) for layer in convolutions(network).values())


def test_a_quantised_network_travels_through_a_weight_file(quantized, tmp_path):
    integers = quantized[2]
    save_network(tmp_path / "q.safetensors", integers)
    loaded = load_network(tmp_path / "q.safetensors").eval()
    images = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(loaded(*images)[-1], integers(*images)[-1])


def test_what_stays_in_floats_has_rounded_weights_here_and_from_a_file(quantized, tmp_path):
    network, ranges, _ = quantized
    first, *others = ranges
    mixed = quantize(network, ranges, others)
    save_network(tmp_path / "q.safetensors", mixed)
    for one in (mixed, load_network(tmp_path / "q.safetensors")):
        kinds = {name: type(layer) for name, layer in convolutions(one).items()}
        assert kinds == {first: RoundedConvolution, **dict.fromkeys(others, IntegerConvolution)}


def test_back_in_floats_the_weights_are_those_of_the_network(quantized):
    network, _, integers = quantized
    images = torch.rand(2, 1, 3, 64, 64)
    with torch.no_grad(), without_kernels():  # the bits are those of one way of convolving
        assert torch.equal(with_float_convolutions(integers)(*images)[-1], network(*images)[-1])


def test_the_stages_follow_one_another(tmp_path, capsys):
    save_network(tmp_path / "float.safetensors", create("lightflow", width=0.1))
    command = ["quantize", "--network", "lightflow", "--checkpoint", str(tmp_path / "float.safetensors")]
    small = ["--set", "data.synthetic.size=[64,64]", "--set", "data.synthetic.length=3", "--set", "data.frame=[64,64]"]
    small += ["--set", "data.synthetic.texture_count=4", "--set", "data.workers=0", "--set", "score_pairs=1"]
    command += ["--data", "synthetic", "-o", str(tmp_path / "stages"), "--size", "64x64", *small]
    assert main([*command, "--stage", "qat", "--steps", "1", "--batch-size", "1"]) == 2
    assert "has no float.safetensors; --stage float needs a folder" in capsys.readouterr().err
    assert main([*command, "--stage", "calibration", "--pairs", "2", "--floats", "0"]) == 0
    assert re.search(r"\b(\d+) of \1 convolutions, .*in integers", capsys.readouterr().out)
    assert main([*command, "--stage", "qat", "--steps", "1", "--batch-size", "1"]) == 0
    assert {path.name for path in (tmp_path / "stages").glob("*.safetensors")} == {
        "float.safetensors",
        "calibration.safetensors",
        "qat.safetensors",
    }
    evaluate = ["evaluate", "--network", "lightflow", "--checkpoint", str(tmp_path / "stages"), "--synthetic", "1"]
    capsys.readouterr()
    assert main([*evaluate, *(word for stage in ("float", "calibration", "qat") for word in ("--stage", stage))]) == 0
    table = capsys.readouterr().out
    assert all(f"lightflow {stage}" in table for stage in ("float", "calibration", "qat"))
    # What was made of a stage goes when that is replaced: the stage int would take it.
    (tmp_path / "stages" / "int.onnx").write_bytes(b"of before")
    assert main([*command, "--stage", "qat", "--steps", "1", "--batch-size", "1", "--overwrite"]) == 0
    assert not (tmp_path / "stages" / "int.onnx").exists()
    (tmp_path / "stages" / "int.onnx").write_bytes(b"of before")
    assert main([*command, "--stage", "calibration", "--pairs", "1", "--overwrite"]) == 0
    assert {path.name for path in (tmp_path / "stages").glob("*.*")} == {"float.safetensors", "calibration.safetensors"}


def test_the_grids_are_those_of_integers_in_mixed_precision_too():
    torch.manual_seed(0)
    original, x = nn.Conv2d(16, 8, 3, padding=1), torch.randn(1, 16, 12, 12)
    layer = IntegerConvolution(original)
    layer.input_range.copy_(torch.tensor([x.min(), x.max()]))
    layer.output_range.copy_(torch.stack(original(x).detach().aminmax()))
    expected = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(x), expected)


def test_an_image_fits_if_both_of_its_sides_do():
    assert fits((448, 1024, 3), (448, 1024))
    assert not fits((375, 1242, 3), (448, 1024))
    assert not fits((500, 1000, 3), (448, 1024))


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("export", ["--checkpoint", "made.onnx"]),
        ("quantize", ["--stage", "calibration", "--checkpoint", "made.onnx"]),
    ],
)
def test_what_is_no_start_is_refused(tmp_path, capsys, monkeypatch, verb, flags):
    monkeypatch.setattr("mdflow.deployment.runtime.OnnxPredictor.__init__", lambda predictor, path: None)
    assert main([verb, "--network", "fastflownet", "-o", str(tmp_path / "out"), *flags]) == 2
    assert ".safetensors" in capsys.readouterr().err


def test_a_stage_that_is_there_is_replaced_only_if_asked_for(tmp_path, capsys):
    (tmp_path / "calibration.safetensors").write_bytes(b"")
    command = ["quantize", "--network", "fastflownet", "--stage", "calibration", "-o", str(tmp_path), "--resume"]
    assert main(command) == 2
    assert "use --overwrite" in capsys.readouterr().err


def test_a_bias_far_above_its_weights_stays_within_32_bits():
    original = nn.Conv2d(4, 2, 3)
    with torch.no_grad():
        original.weight.mul_(torch.tensor([0.0, 1e-7]).view(2, 1, 1, 1))
        original.bias.copy_(torch.tensor([0.5, 0.2]))
    layer = IntegerConvolution(original)
    steps = original.bias.double() / (layer.scales.double() * layer.grids[0].scale)
    assert 2**29 < steps.abs().max() < 2**31
    usual = nn.Conv2d(4, 2, 3)
    assert torch.equal(IntegerConvolution(usual).scales, weight_scales(usual.weight))
