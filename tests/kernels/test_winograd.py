import ctypes
import warnings

import pytest
import torch
import torch.nn.functional as F

from mdflow.kernels import native
from mdflow.kernels.kept import made
from mdflow.kernels.native import SOURCES, panel, without_kernels
from mdflow.kernels.winograd import WinogradConvolution, winograd
from mdflow.networks.convolution import Convolution

# Inputs and outputs off every multiple; sizes off the tiles, one smaller than a tile; groups.
CASES = [
    ((3, 3), 40, 35, (13, 18), 1),
    ((5, 1), 33, 48, (13, 18), 1),
    ((1, 5), 48, 33, (13, 18), 1),
    ((3, 3), 96, 48, (9, 8), 3),
    ((3, 3), 16, 16, (2, 3), 1),
    ((1, 1), 40, 35, (13, 18), 1),
    ((1, 1), 33, 80, (29, 18), 1),
]
needs_kernels = pytest.mark.skipif(panel() is None, reason="no kernels for this processor, or no compiler")


def convolution_of(kernel, inputs, outputs, groups):
    torch.manual_seed(0)
    return Convolution(inputs, outputs, kernel, padding=tuple(side // 2 for side in kernel), groups=groups)


def results(layer, x, gradient):
    """The outputs of a layer, and the gradients of its inputs and parameters."""
    y = layer(x)
    return [y, *torch.autograd.grad(y, [x, *layer.parameters()], gradient)]


@needs_kernels
@pytest.mark.parametrize(("kernel", "inputs", "outputs", "size", "groups"), CASES)
def test_outputs_and_gradients_are_those_of_float64(kernel, inputs, outputs, size, groups):
    layer = convolution_of(kernel, inputs, outputs, groups)
    x, gradient = torch.randn(3, inputs, *size).requires_grad_(), torch.randn(3, outputs, *size)
    found = results(layer, x, gradient)
    assert "Winograd" in type(found[0].grad_fn).__name__
    exact = results(layer.double(), x.detach().double().requires_grad_(), gradient.double())
    for one, expected in zip(found, exact, strict=True):
        torch.testing.assert_close(one.double(), expected, rtol=0, atol=4e-5 * expected.std().item())


@needs_kernels
@pytest.mark.parametrize("slope", [0.3, 0.0])
@pytest.mark.parametrize(("inputs", "outputs", "groups", "parts"), [(40, 35, 1, 1), (96, 96, 3, 3), (48, 48, 1, 8)])
def test_leaky_relu_and_a_shuffle_behind_it_are_those_of_float64(inputs, outputs, groups, parts, slope):
    layer = convolution_of((3, 3), inputs, outputs, groups)
    x, gradient = torch.randn(3, inputs, 13, 18).requires_grad_(), torch.randn(3, outputs, 13, 18)
    y = layer.filtered(x, slope, parts)
    found = [y, *torch.autograd.grad(y, [x, *layer.parameters()], gradient)]
    with torch.no_grad():
        assert layer.filtered(x, slope, parts).equal(y)
    x = x.detach().double().requires_grad_()
    y = F.channel_shuffle(F.leaky_relu(layer.double()(x), slope), parts)
    exact = [y, *torch.autograd.grad(y, [x, *layer.parameters()], gradient.double())]
    for one, expected in zip(found, exact, strict=True):
        torch.testing.assert_close(one.double(), expected, rtol=0, atol=4e-5 * expected.std().item())


@needs_kernels
def test_without_gradients_the_outputs_are_the_same_bits():
    layer, x = convolution_of((3, 3), 24, 40, 1), torch.randn(2, 24, 17, 11)
    with torch.no_grad():
        assert layer(x).equal(layer(x.clone().requires_grad_()).detach())
        assert layer(x)[1:].equal(layer(x[1:]))


@needs_kernels
def test_blocks_of_many_tiles_add_up():
    layer = convolution_of((3, 3), 16, 16, 1)
    x, gradient = torch.randn(2, 16, 70, 90).requires_grad_(), torch.randn(2, 16, 70, 90)
    found = results(layer, x, gradient)[2]
    exact = results(layer.double(), x.detach().double().requires_grad_(), gradient.double())[2]
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-4 * exact.std().item())


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_share_the_tiles(threads, on_threads):
    layer, x = convolution_of((3, 3), 24, 40, 1), torch.randn(2, 24, 33, 47)
    with on_threads(threads), torch.no_grad():
        found = layer(x)
    expected = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


@needs_kernels
def test_weights_are_transformed_once_and_anew_when_they_change():
    layer, x = convolution_of((3, 3), 16, 16, 1), torch.randn(1, 16, 8, 8)
    with torch.no_grad():
        first = layer(x)
        kept = made[layer.weight].results[False]
        layer(x)
        assert made[layer.weight].results[False] is kept
        layer.weight.mul_(2)
        torch.testing.assert_close(layer(x) - layer.bias[:, None, None], 2 * (first - layer.bias[:, None, None]))


@needs_kernels
def test_a_frozen_layer_passes_gradients_on():
    layer, x = convolution_of((3, 3), 16, 16, 1).requires_grad_(False), torch.randn(1, 16, 8, 8).requires_grad_()
    with without_kernels():
        expected = torch.autograd.grad(layer(x).square().sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(layer(x).square().sum(), x)[0], expected, rtol=1e-4, atol=1e-4)


@needs_kernels
@pytest.mark.parametrize(
    ("options", "channels"),
    [
        ({"kernel_size": 3, "padding": 1, "stride": 2}, (32, 32)),
        ({"kernel_size": 3, "padding": 2, "dilation": 2}, (32, 32)),
        ({"kernel_size": 3, "padding": 0}, (32, 32)),
        ({"kernel_size": 3, "padding": 1, "padding_mode": "reflect"}, (32, 32)),
        ({"kernel_size": 7, "padding": 3}, (32, 32)),
        ({"kernel_size": 3, "padding": 1}, (32, 2)),
    ],
)
def test_what_the_kernels_cannot_do_is_left_to_pytorch(options, channels):
    layer, x = Convolution(*channels, **options), torch.randn(1, channels[0], 16, 16)
    assert "Winograd" not in type(layer(x).grad_fn).__name__


@needs_kernels
def test_other_precisions_and_the_switch_are_left_to_pytorch():
    layer, x = convolution_of((3, 3), 32, 32, 1), torch.randn(1, 32, 16, 16)
    assert "Winograd" in type(layer(x).grad_fn).__name__
    with without_kernels():
        assert "Winograd" not in type(layer(x).grad_fn).__name__
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert layer.double()(x.double()).dtype == torch.float64


@needs_kernels
def test_the_compiler_takes_it_in_one_piece_and_sees_new_weights():
    layer, x = convolution_of((3, 3), 16, 16, 1), torch.randn(1, 16, 8, 8)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(compiled(x), layer(x))
            layer.weight.mul_(1.5)


@needs_kernels
def test_shapes_alone_are_enough_for_the_operators():
    with torch.device("meta"):
        x, weight = torch.empty(2, 32, 8, 9), torch.empty(48, 32, 3, 3)
    assert winograd(x, weight, None, 1).shape == (2, 48, 8, 9)
    assert winograd(torch.empty(2, 48, 8, 9, device="meta"), weight, None, 1, turned=True).shape == (2, 32, 8, 9)


@needs_kernels
def test_the_other_width_of_registers_gives_the_same(other_registers):
    for kernel, inputs, outputs, size, groups in CASES:
        test_outputs_and_gradients_are_those_of_float64(kernel, inputs, outputs, size, groups)
    test_leaky_relu_and_a_shuffle_behind_it_are_those_of_float64(96, 96, 3, 3, slope=0.3)


def test_the_gradient_of_a_gradient_is_refused():
    x, weight = torch.randn(1, 16, 8, 8).requires_grad_(), torch.randn(16, 16, 3, 3).requires_grad_()
    if panel() is None:
        pytest.skip("no kernels for this processor, or no compiler")
    y = WinogradConvolution.apply(x, weight, None, 1)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("missing", ["compiler", "processor"])
def test_without_a_compiler_or_for_other_processors_there_is_no_library(missing, monkeypatch):
    monkeypatch.setattr(native, "known_panel", None)
    native.native_library.cache_clear()
    if missing == "compiler":
        monkeypatch.setenv("CXX", "no-such-compiler")
    else:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    try:
        with warnings.catch_warnings(action="ignore"):  # of the compiler; see test_native
            assert native.native_library(SOURCES) is None
        layer, x = Convolution(32, 32, 3, padding=1), torch.randn(1, 32, 16, 16)
        assert "Winograd" not in type(layer(x).grad_fn).__name__
    finally:
        monkeypatch.undo()
        native.native_library.cache_clear()


def test_a_compiler_that_fails_is_a_warning_with_its_words(monkeypatch, tmp_path):
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\necho 'out of luck' >&2\nexit 1\n")
    compiler.chmod(0o755)
    sources = tmp_path / "kernel"
    sources.mkdir()
    (sources / "one.cpp").write_text("int one() { return 1; }\n")
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.warns(UserWarning, match="kernel could not be compiled.*out of luck"):
        assert native.native_library(sources) is None


@needs_kernels
def test_a_library_is_compiled_once_and_then_read(monkeypatch, tmp_path):
    sources = tmp_path / "kernel"
    sources.mkdir()
    (sources / "one.cpp").write_text('extern "C" int one() { return 1; }\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    library = native.native_library(sources)
    assert isinstance(library, ctypes.CDLL) and library.one() == 1
    native.native_library.cache_clear()
    monkeypatch.setattr(native, "compile_library", lambda *_: pytest.fail("compiled again"))
    assert native.native_library(sources).one() == 1
    native.native_library.cache_clear()
