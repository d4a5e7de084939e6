import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mdflow.correlation import local_correlation
from mdflow.kernels.native import without_kernels
from mdflow.networks import create
from mdflow.networks.convolution import Convolution
from mdflow.networks.layers import (
    chained,
    convolution,
    joined,
    normalize_features,
    shuffle_channels,
    subtract_mean,
    warp_inside,
)


def test_normalised_features_know_neither_the_scale_nor_the_level_of_a_channel():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 2, 8, 16, 16, generator=generator)
    level = 5 * torch.randn(8, 1, 1, generator=generator)
    torch.testing.assert_close(normalize_features(*(3 * features + level)), normalize_features(*features))


def test_every_pixel_has_one_length_but_a_flat_one_is_short():
    features1, features2 = torch.randn(2, 1, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    features1[..., 0] = 0
    for normalised in normalize_features(features1, features2):
        squares = normalised.square().mean(dim=1)
        assert (squares[..., 1:] > 0.7).all() and (squares < 1).all()
    assert (normalize_features(features1, features2)[0][..., 0].square().mean(dim=1) < 0.3).all()


def test_blank_frames_have_no_direction_and_a_finite_gradient():
    features1, features2 = torch.zeros(2, 1, 4, 3, 3, requires_grad=True)
    normalised1, normalised2 = normalize_features(features1, features2)
    assert not normalised1.any()
    gradients = torch.autograd.grad((normalised1 * normalised2).sum() + normalised1.sum(), (features1, features2))
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("level", [2, 3])
def test_of_untrained_features_the_best_match_is_the_right_one(level):
    noise = torch.rand(1, 3, 40, 56, generator=torch.Generator().manual_seed(0))
    texture = F.interpolate(noise, scale_factor=8, mode="bicubic", align_corners=False).clamp(0, 1)
    shift = 2 * 2**level
    torch.manual_seed(0)
    features1, features2 = create("fastflownet").encode(texture[..., shift : 256 + shift], texture[..., :256])
    with torch.no_grad():
        cost = local_correlation(*normalize_features(features1[level - 2], features2[level - 2]), radius=4)
    best = cost[..., 4:-4, 4:-4].argmax(dim=1)
    assert (best == 4 * 9 + 4 + 2).float().mean() > 0.8  # by the statistics of whole maps under a half


def test_the_mean_is_one_scalar_for_each_pair():
    image1, image2 = torch.rand(2, 2, 3, 8, 8)
    centred1, centred2 = subtract_mean(image1, image2)
    torch.testing.assert_close((centred1 + centred2).mean((1, 2, 3)), torch.zeros(2), atol=1e-6, rtol=0)
    removed = image1 - centred1
    assert (removed.flatten(1).std(1) < 1e-6).all()
    torch.testing.assert_close(removed, image2 - centred2)


def test_a_sample_that_is_partly_outside_counts_as_zero():
    features2 = torch.ones(1, 4, 4, 4)
    flow = torch.zeros(1, 2, 4, 4)
    flow[:, 0] = 0.5
    warped = warp_inside(features2, flow)
    torch.testing.assert_close(warped[..., :3], torch.ones(1, 4, 4, 3))
    assert (warped[..., 3] == 0).all()


def test_joined_maps_keep_their_channels_in_a_row_and_last_in_memory():
    one, two, three = torch.rand(2, 1, 4, 5), torch.rand(2, 3, 4, 5), torch.rand(2, 4, 5, 2).permute(0, 3, 1, 2)
    whole = joined(one, two, three)
    assert whole.equal(torch.cat([one, two, three], dim=1))
    assert whole.is_contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        assert joined(one, two, three).equal(whole.bfloat16())


@pytest.mark.parametrize("groups", [3, 2])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
def test_channels_are_shuffled_exactly_in_every_precision(kind, groups):
    generator = torch.Generator().manual_seed(0)
    x, gradient = torch.randn(2, 2, 12, 3, 5, generator=generator).to(kind)
    results = []
    for shuffle in (shuffle_channels, F.channel_shuffle):
        shuffled = shuffle(x.requires_grad_(), groups)
        results.append((shuffled, *torch.autograd.grad(shuffled, x, gradient)))
    for found, expected in zip(*results, strict=True):
        assert found.equal(expected)


@pytest.mark.parametrize("name", ["fastflownet", "pwcnet", "liteflownet2", "lightflow", "raft", "raft_small"])
def test_every_convolution_gets_its_channels_last_in_memory(name):
    torch.manual_seed(0)
    network, others = create(name).eval(), []

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        if not inputs[0].is_contiguous(memory_format=torch.channels_last):
            others.append(layer)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    # A kernel takes layers at one go, and no hook sees them.
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), without_kernels():
        network(torch.rand(1, 3, 128, 192), torch.rand(1, 3, 128, 192))
    assert not others


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("name", ["fastflownet", "raft_small"])
def test_the_compiler_takes_a_network_in_one_piece(name, half):
    network = torch.compile(create(name).eval(), backend="eager", fullgraph=True)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        assert network(*torch.rand(2, 1, 3, 64, 128), last_only=True)[-1].shape == (1, 2, 64, 128)


@pytest.mark.parametrize("half", [False, True])
def test_chained_layers_are_the_layers_in_turn(half):
    """With their LeakyReLU, shuffled where that is asked for; in half precision by whatever the processor has."""
    torch.manual_seed(0)
    x = torch.randn(1, 3, 20, 36)
    layers = [convolution(3, 96, stride=2), convolution(96, 96, groups=3), Convolution(96, 2, 3, padding=1)]
    layers[0][1].negative_slope = 0.3
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
        found = chained(x, *layers, parts=(1, 3, 1))
        first = F.leaky_relu(F.conv2d(x, layers[0][0].weight, layers[0][0].bias, 2, 1), 0.3)
        second = F.leaky_relu(F.conv2d(first, layers[1][0].weight, layers[1][0].bias, 1, 1, 1, 3), 0.1)
        expected = F.conv2d(F.channel_shuffle(second, 3), layers[2].weight, layers[2].bias, 1, 1)
    tolerance = 0.02 if half else 1e-5
    torch.testing.assert_close(found.float(), expected.float(), rtol=tolerance, atol=tolerance)
    assert found.dtype == (torch.bfloat16 if half else torch.float32)


def test_the_gradients_of_chained_layers_are_those_of_the_layers_in_turn():
    torch.manual_seed(0)
    layers = [convolution(20, 96), convolution(96, 96, groups=3), Convolution(96, 32, 3, padding=1)]
    inputs = [torch.randn(2, 20, 9, 14, requires_grad=True), *(one for layer in layers for one in layer.parameters())]
    found = chained(inputs[0], *layers, parts=(1, 3, 1)).square().mean()
    with without_kernels():
        second = F.channel_shuffle(layers[1](layers[0](inputs[0])), 3)
        expected = layers[2](second).square().mean()
    for one, other in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
