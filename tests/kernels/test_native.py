"""Kernels rely on shapes: what does not fit is refused before they read it, and nothing is computed of nothing."""

import pytest
import torch

from mdflow import losses
from mdflow.correlation import backend, local_correlation
from mdflow.errors import InputError
from mdflow.kernels.half import Link, convolve_chain
from mdflow.kernels.native import compiler_command, panel
from mdflow.kernels.windows import windows
from mdflow.networks.convolution import Convolution
from mdflow.networks.layers import normalize_features

needs_kernels = pytest.mark.skipif(panel() is None, reason="no kernels for this processor, or no compiler")


@pytest.mark.parametrize("other", [(2, 32, 8, 8), (1, 32, 16, 16), (2, 64, 16, 16)])
@pytest.mark.parametrize("compute", [normalize_features, lambda one, two: local_correlation(one, two, 2)])
def test_features_of_two_shapes_are_refused(compute, other):
    with pytest.raises(InputError, match=r"one shape, got \(2, 32, 16, 16\)"):
        compute(torch.rand(2, 32, 16, 16), torch.rand(other))


@pytest.mark.parametrize("other", [(2, 3, 32, 32), (1, 3, 64, 64)])
def test_images_of_two_shapes_are_refused(other):
    with pytest.raises(InputError, match="one shape"):
        losses.census(torch.rand(2, 3, 64, 64), torch.rand(other))


def test_images_of_two_precisions_are_compared():
    one, other = torch.rand(2, 1, 3, 16, 16)
    expected = losses.census(one, other)
    torch.testing.assert_close(losses.census(one, other.double()), expected, check_dtype=False, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("channels", [16, 96])
def test_a_convolution_of_other_channels_is_pytorchs_to_refuse(channels):
    with pytest.raises(RuntimeError, match=f"to have 64 channels, but got {channels}"):
        Convolution(64, 64, 3, padding=1)(torch.rand(1, channels, 16, 16))


def test_a_single_map_is_a_batch_of_one():
    layer, x = Convolution(32, 32, 3, padding=1), torch.rand(32, 16, 16)
    torch.testing.assert_close(layer(x), layer(x[None])[0])


@pytest.mark.parametrize("second", [32, 96])
def test_links_that_do_not_fit_are_refused(second):
    links = [Link(torch.rand(64, inputs, 3, 3), None, 1, (1, 1), 1, 1.0, 1) for inputs in (32, second)]
    with pytest.raises(InputError, match=f"takes {second} channels, got 64"):
        convolve_chain(torch.rand(1, 32, 8, 8).bfloat16(), links)


def test_windows_of_two_batches_are_refused():
    features = torch.rand(2, 32, 8, 8)
    with pytest.raises(InputError, match="Expected features"):
        windows(features, [features], torch.rand(1, 2, 8, 8), 3)


def test_nothing_has_no_gradient():
    layer = Convolution(32, 32, 3, padding=1)
    layer(torch.rand(2, 32, 16, 16)).sum().backward()  # which leaves sums in the kernel's memory
    layer.zero_grad()
    layer(torch.zeros(0, 32, 16, 16)).sum().backward()
    assert not layer.weight.grad.any()


@needs_kernels
def test_windows_of_nothing_have_gradients_of_nothing():
    features = torch.zeros(0, 32, 8, 8, requires_grad=True)
    windows(features, [features], torch.zeros(0, 2, 8, 8), 3).sum().backward()
    assert features.grad.shape == (0, 32, 8, 8)


def test_a_bias_alone_can_learn():
    layer = Convolution(32, 32, 3, padding=1)
    layer.weight.requires_grad_(False)
    layer(torch.rand(1, 32, 8, 8)).sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.full((32,), 64.0))


def test_the_plain_backend_sums_half_precision_in_float32():
    one, other = torch.rand(2, 1, 32, 8, 8).bfloat16()
    with backend("plain"):
        torch.testing.assert_close(
            local_correlation(one, other, 2), local_correlation(one.float(), other.float(), 2), rtol=0, atol=1e-6
        )


def test_a_compiler_may_have_arguments(monkeypatch):
    monkeypatch.setenv("CXX", "sh -c 'a b'")
    program, *words = compiler_command()
    assert program.endswith("/sh") and words == ["-c", "a b"]


def test_a_compiler_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler -O3")
    with pytest.warns(UserWarning, match="no-such-compiler"):
        assert compiler_command() is None
