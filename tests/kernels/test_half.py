import pytest
import torch
import torch.nn.functional as F

from mdflow.kernels.half import Link, convolve_chain
from mdflow.kernels.native import has_matrix_kernels, native_library, without_kernels
from mdflow.networks import create
from mdflow.networks.convolution import Convolution, takes_half

needs_kernels = pytest.mark.skipif(native_library() is None, reason="needs a compiler and AVX2")
needs_unit = pytest.mark.skipif(not has_matrix_kernels(), reason="needs a processor with a matrix unit")

# Inputs, outputs, kernel, stride, padding, groups, slope, parts of the shuffle.
SINGLE = {
    "many channels": (87, 96, (3, 3), 1, (1, 1), 1, 0.1, 1),
    "few channels": (3, 16, (3, 3), 2, (1, 1), 1, 0.1, 1),
    "half a tile": (16, 2, (3, 3), 1, (1, 1), 1, 1.0, 1),
    "groups, shuffled": (96, 96, (3, 3), 1, (1, 1), 3, 0.1, 3),
    "outputs between tiles, shuffled": (40, 42, (1, 1), 1, (0, 0), 1, 0.1, 7),
    "a row": (70, 20, (1, 5), 1, (0, 2), 1, 0.0, 1),
    "a column, more padding": (33, 50, (5, 1), 1, (4, 1), 1, 1.0, 1),
    "large": (3, 24, (7, 7), 2, (3, 3), 1, 1.0, 1),
}


def random_link(inputs, outputs, kernel, stride, padding, groups, slope, parts, bias=True):
    weight = torch.randn(outputs, inputs // groups, *kernel) / (inputs // groups * kernel[0] * kernel[1]) ** 0.5
    return Link(weight, torch.randn(outputs) if bias else None, stride, padding, groups, slope, parts)


def exact(x, links):
    """The links in float64 on what the kernel is given; between them rounded as it rounds."""
    for link in links:
        weight, bias = (None if value is None else value.bfloat16().double() for value in (link.weight, link.bias))
        y = F.conv2d(x.double(), weight, bias, link.stride, link.padding, 1, link.groups)
        x = F.channel_shuffle(F.leaky_relu(y, link.slope), link.parts).bfloat16()
    return x


def assert_close(found, expected):
    """Equal but for the last bit, where sums in float32 and float64 fall on both sides of a rounding."""
    assert found.dtype == torch.bfloat16 and found.is_contiguous(memory_format=torch.channels_last)
    assert (found.float() - expected.float()).abs().max() <= 2**-7 * expected.float().abs().max()
    assert (found != expected).float().mean() < 0.02


@needs_kernels
@pytest.mark.parametrize("link", SINGLE.values(), ids=SINGLE)
@pytest.mark.parametrize("size", [(2, 9, 37), (1, 3, 32), (1, 20, 65)])
def test_link_is_convolution(link, size):
    torch.manual_seed(0)
    x, links = torch.randn(size[0], link[0], *size[1:]).bfloat16(), [random_link(*link)]
    assert_close(convolve_chain(x, links), exact(x, links))


@needs_kernels
def test_weights_made_for_the_moment_count():
    """Those of the inference mode, of which nothing is kept, as a normalised weight."""
    torch.manual_seed(3)
    with torch.inference_mode():
        x, links = torch.randn(1, 87, 9, 37).bfloat16(), [random_link(*SINGLE["many channels"])]
        assert_close(convolve_chain(x, links), exact(x, links))


@needs_kernels
@pytest.mark.parametrize("threads", [1, 2])
def test_chain_is_its_links(threads, on_threads):
    """Of different kernels, strides and shuffles, on as many threads, each with rows of its own."""
    torch.manual_seed(1)
    x = torch.randn(2, 3, 75, 70).bfloat16()
    kinds = [
        (3, 16, (3, 3), 2, (1, 1), 1, 0.1, 1),
        (16, 48, (5, 1), 1, (2, 0), 1, 0.1, 3),
        (48, 64, (1, 5), 1, (0, 2), 1, 1.0, 1),
        (64, 64, (3, 3), 1, (1, 1), 2, 0.1, 2),
        (64, 2, (3, 3), 2, (1, 1), 1, 1.0, 1),
    ]
    links = [random_link(*kind) for kind in kinds]
    with on_threads(threads):
        found = convolve_chain(x, links)
    one_by_one = x
    for link in links:
        one_by_one = convolve_chain(one_by_one, [link])
    assert torch.equal(found, one_by_one)
    expected = exact(x, links)
    assert (found.float() - expected.float()).abs().max() <= 0.03 * expected.float().abs().max()


@needs_kernels
def test_link_without_bias_and_new_weights():
    """What is kept of the weights is of their last version."""
    torch.manual_seed(2)
    x, links = torch.randn(1, 32, 8, 8).bfloat16(), [random_link(32, 32, (3, 3), 1, (1, 1), 1, 0.1, 1, bias=False)]
    assert_close(convolve_chain(x, links), exact(x, links))
    links[0].weight.mul_(-1)
    assert_close(convolve_chain(x, links), exact(x, links))


@pytest.mark.usefixtures("other_registers")
def test_imitated_unit():
    """Number by number, on processors without a unit, with the other width of registers."""
    torch.manual_seed(3)
    for kind in SINGLE.values():
        x, links = torch.randn(1, kind[0], 6, 35).bfloat16(), [random_link(*kind)]
        assert_close(convolve_chain(x, links), exact(x, links))


def test_shape_alone():
    """The compiler follows shapes without memory."""
    links = [random_link(*SINGLE["few channels"]), random_link(*SINGLE["half a tile"])]
    x = torch.randn(2, 3, 21, 33).bfloat16()
    meta = torch.ops.mdflow.convolve_chain.default(
        x.to("meta"),
        [link.weight.to("meta") for link in links],
        [link.bias.to("meta") for link in links],
        [1, 2, 1, 1, 1, 1, 1, 1, 1, 1],
        [0.1, 1.0],
    )
    assert meta.shape == exact(x, links).shape


@needs_unit
def test_network_in_half_is_the_network():
    """FastFlowNet takes the kernel, and its flow is as far from float32 as PyTorch's own bfloat16."""
    torch.manual_seed(4)
    network = create("fastflownet").eval()
    images = torch.rand(2, 1, 3, 192, 256).unbind()
    with torch.no_grad():
        reference = network(*images)[-1]
        with torch.autocast("cpu", torch.bfloat16):
            assert takes_half(network.decoder2.conv2[0], images[0])
            found = network(*images)[-1].float()
            with without_kernels():
                assert not takes_half(network.decoder2.conv2[0], images[0])
                plain = network(*images)[-1].float()
    own, other = (found - reference).norm(dim=1).mean(), (plain - reference).norm(dim=1).mean()
    assert 0 < own < 1.2 * other


@needs_unit
def test_what_is_not_taken():
    """With a gradient, in other precisions, and shapes that the kernel does not know."""
    x, layer = torch.rand(1, 32, 8, 8), Convolution(32, 32, 3, padding=1)
    assert not takes_half(layer.requires_grad_(False), x)
    with torch.autocast("cpu", torch.bfloat16):
        assert takes_half(layer, x)
        assert not takes_half(layer.requires_grad_(), x)
        with torch.no_grad():
            assert takes_half(layer, x)
            assert not takes_half(Convolution(32, 32, 3, padding=2, dilation=2), x)
            assert not takes_half(Convolution(32, 32, 3, padding=1, groups=2), x)
            assert not takes_half(Convolution(32, 32, 3, padding=1, padding_mode="reflect"), x)
            assert not takes_half(torch.nn.Conv2d(32, 32, 3), x)
    with torch.autocast("cpu", torch.float16), torch.no_grad():
        assert not takes_half(layer, x)
