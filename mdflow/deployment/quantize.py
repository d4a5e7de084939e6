"""A network's convolutions as 8-bit integers compute them, simulated in floats (Jacob et al., CVPR 2018).

A quantised network is an ordinary network: it trains by the one fit(), and its weight file loads by the same `load`.
"""

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mdflow.correlation import LocalCorrelation
from mdflow.deployment.integer_correlation import IntegerCorrelation
from mdflow.networks.network import FlowNetwork

STEPS = 255  # between the least and the largest of 256 values
DIGIT = 16  # of a second digit's steps make one of the first
MIRRORED = 2  # channels, as many as a flow has, whose clipped part comes with the other sign
STRETCH = 100  # times the stretch of an end is the logarithm of its factor: ends move in per cent as weights do in 1e-4
LARGEST_BIAS = 2**30  # in steps of the input times those of the weight
LANES = 4  # ONNX Runtime's fast kernel wants a multiple of so many input channels


class Grid(NamedTuple):
    """256 equally spaced values, of which one is exactly 0: (q - zero_point) * scale, q = 0..255."""

    scale: float
    zero_point: int

    @classmethod
    def over(cls, low: float, high: float) -> "Grid":
        """The grid from low to high, widened to hold 0."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max((high - low) / STEPS, 1e-12)
        return cls(scale, round(-low / scale))

    def round(self, x: Tensor) -> Tensor:
        """x on the grid, clipped to its ends."""
        return torch.fake_quantize_per_tensor_affine(x.float(), self.scale, self.zero_point, 0, STEPS)


class Rounding(torch.autograd.Function):
    """x on the grid over `ends` (2,), whose gradient says how they should move (Esser et al., ICLR 2020).

    The gradient passes to x wherever nothing was clipped; what was clipped moves with the end, and what lies on the
    grid with its steps, whose zero stays where it is.
    """

    @staticmethod
    def forward(context: Any, x: Tensor, ends: Tensor) -> Tensor:
        """Also keeps x and the ends."""
        context.save_for_backward(x, ends)
        return Grid.over(*ends.tolist()).round(x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Of x, and of both ends."""
        x, ends = context.saved_tensors
        grid = Grid.over(*ends.tolist())
        low, high = -grid.zero_point * grid.scale, (STEPS - grid.zero_point) * grid.scale
        below, above = x < low, x > high
        passed = gradient.masked_fill(below | above, 0.0)
        # y = scale * round(x / scale) inside: its derivative by the scale is what rounding added, in steps.
        by_scale = (passed * (grid.round(x) - x)).sum() / grid.scale / STEPS
        least = gradient.masked_select(below).sum() - by_scale
        largest = gradient.masked_select(above).sum() + by_scale
        return passed, torch.stack([least, largest])


class RoundedConvolution(nn.Conv2d):
    """A convolution in floats whose weight is rounded to 8 bits, so that a file holds a quarter of it.

    Weights lie on symmetric grids of 255 values, one an output channel, that follow them while they train.
    """

    def __init__(self, original: nn.Conv2d) -> None:
        super().__init__(
            original.in_channels,
            original.out_channels,
            original.kernel_size,
            original.stride,
            original.padding,
            original.dilation,
            original.groups,
            device="meta",
        )
        self.weight, self.bias = original.weight, original.bias

    @property
    def scales(self) -> Tensor:
        """The step of each output channel's grid, (outputs,)."""
        return weight_scales(self.weight)

    @property
    def stored_weight(self) -> Tensor:
        """The weight that is rounded."""
        return self.weight

    @property
    def rounded_weight(self) -> Tensor:
        """The stored weight on its grids, in float32."""
        scales = self.scales
        zeros = torch.zeros_like(scales, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(self.stored_weight.float(), scales, zeros, 0, -127, 127)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution with rounded weights."""
        return self._conv_forward(x, self.rounded_weight.to(self.weight.dtype), self.bias)


class IntegerConvolution(RoundedConvolution):
    """A convolution whose input, weight and output are rounded to 8 bits, to be computed in integers.

    Input and output lie on the grids of `input_range` and `output_range`, (least, largest).

    Of the input channels `fine` more is taken in, as further channels. A flow among costs and features needs it: its
    grid, laid for what is mostly positive, clips motion to the left, and 256 values over ±100 px are steps of 0.8 px.
    What is clipped of the first MIRRORED of them changes its sign, and so do its weights, for the grid has room on the
    other side. What rounding left of all of them is a second digit: times DIGIT, with a DIGITth of the weights.
    """

    def __init__(self, original: nn.Conv2d) -> None:
        super().__init__(original)
        self.register_buffer("input_range", torch.tensor([0.0, 1.0]))
        self.register_buffer("output_range", torch.tensor([0.0, 1.0]))
        self.register_buffer("fine", fine_channels(original))
        self.input_stretch, self.output_stretch = (nn.Parameter(torch.zeros(2)) for _ in range(2))

    @property
    def ends(self) -> tuple[Tensor, Tensor]:
        """(least, largest) of the input's and of the output's grid."""
        before = self.input_range * (STRETCH * self.input_stretch).exp()
        if len(self.fine):  # half a step of either sign, times DIGIT, has to fit in
            low, high = before
            before = torch.stack([torch.minimum(low, -high / (2 * DIGIT)), torch.maximum(high, -low / (2 * DIGIT))])
        return before, self.output_range * (STRETCH * self.output_stretch).exp()

    @property
    def grids(self) -> tuple[Grid, Grid]:
        """Of the input and of the output."""
        before, after = self.ends
        return Grid.over(*before.tolist()), Grid.over(*after.tolist())

    @property
    def scales(self) -> Tensor:
        """The step of each output channel's grid, (outputs,), at which the bias is a whole number of 32 bits."""
        scales = weight_scales(self.weight)
        if self.bias is None:
            return scales
        return scales.maximum(self.bias.detach().float().abs() / (LARGEST_BIAS * self.grids[0].scale))

    @property
    def stored_weight(self) -> Tensor:
        """The weight of first digits, mirrored channels and second digits, (outputs, all of these, height, width)."""
        mirrored, fine = self.weight[:, self.fine[:MIRRORED]], self.weight[:, self.fine]
        return torch.cat([self.weight, -mirrored, fine / DIGIT], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution on grids; in float32 under autocast too, whose half precision is coarser than they are."""
        before, after = self.ends
        with torch.autocast(x.device.type, enabled=False):
            return Rounding.apply(self._conv_forward(self.digits(x, before), self.rounded_weight, self.bias), after)

    def digits(self, x: Tensor, ends: Tensor) -> Tensor:
        """The first digits of all channels, what they clip of the mirrored ones, and the second digits of `fine`."""
        first = Rounding.apply(x.float(), ends)
        if not len(self.fine):
            return first
        left = x[:, self.fine] - first[:, self.fine]
        mirrored = Rounding.apply(-left[:, :MIRRORED], ends)
        left = torch.cat([left[:, :MIRRORED] + mirrored, left[:, MIRRORED:]], dim=1)
        return torch.cat([first, mirrored, Rounding.apply(DIGIT * left, ends)], dim=1)


def fine_channels(layer: nn.Conv2d, lowest: Sequence[int] = ()) -> Tensor:
    """The input channels of which more is taken in: `lowest`, then those whose slow change moves the output most.

    (channels,): none of a grouped convolution or where the channels are a multiple of LANES, as they are behind another
    convolution; two at least, and up to that multiple, of those that read a concatenation, a flow or an image. A smooth
    channel's rounding errors are alike over the kernel, so it is the sum of its weights that counts.
    """
    inputs = layer.in_channels
    if layer.groups > 1 or inputs % LANES == 0:
        return torch.zeros(0, dtype=torch.long)
    count = min(inputs, 2 + (-inputs - MIRRORED - 2) % LANES)
    moved = layer.weight.detach().float().sum(dim=(2, 3)).square().sum(dim=0)
    moved[list(lowest)] = math.inf
    return moved.topk(count).indices


def weight_scales(weight: Tensor) -> Tensor:
    """The step of each output channel's grid, (outputs,)."""
    return weight.detach().float().flatten(1).abs().amax(1).clamp(min=1e-12) / 127


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d]:
    """The convolutions that integers can compute, or do, by name; transposed ones are not among them."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Conv2d)}


def fold_normalization(network: FlowNetwork) -> None:
    """Let each convolution do its batch normalisation's work, in evaluation mode the same to rounding."""
    for block in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for place, (first, second) in enumerate(pairwise(list(block))):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                block[place], block[place + 1] = fuse_conv_bn_eval(first.eval(), second.eval()), nn.Identity()


def to_integers(network: FlowNetwork, names: Collection[str]) -> None:
    """Let the named convolutions and all correlations compute in integers; in place.

    All other convolutions compute in floats with rounded weights.
    """
    for name, layer in convolutions(network).items():
        network.set_submodule(name, (IntegerConvolution if name in names else RoundedConvolution)(layer))
    correlations = {name: part for name, part in network.named_modules() if isinstance(part, LocalCorrelation)}
    for name, part in correlations.items():
        network.set_submodule(name, IntegerCorrelation(part.radius, part.displacements))


def with_float_convolutions(network: FlowNetwork) -> FlowNetwork:
    """A copy whose quantised convolutions compute in floats again, with the unrounded weights that they have now."""
    plain = copy.deepcopy(network)
    for name, module in convolutions(network).items():
        if isinstance(module, RoundedConvolution):
            kind = (module.in_channels, module.out_channels, module.kernel_size, module.stride, module.padding)
            one = nn.Conv2d(*kind, module.dilation, module.groups, bias=module.bias is not None)
            one.load_state_dict({key: module.state_dict()[key] for key in one.state_dict()})
            plain.set_submodule(name, one)
    return plain.eval()


def quantized_like(network: FlowNetwork, state: Mapping[str, Tensor]) -> None:
    """Give `network` the quantised convolutions that a weight file's state has, if it has any; in place."""
    quantized = {key.removesuffix(".input_range") for key in state if key.endswith(".input_range")}
    if quantized:
        fold_normalization(network)
        to_integers(network, quantized)


class Ranges(NamedTuple):
    """(least, largest) of a convolution's input and output; the MIRRORED input channels that go the lowest."""

    input: tuple[float, float]
    output: tuple[float, float]
    lowest: tuple[int, ...] = ()


@torch.no_grad()
def quantize(network: FlowNetwork, ranges: Mapping[str, Ranges], names: Collection[str]) -> FlowNetwork:
    """A copy of the network with the named convolutions on grids over their ranges, and all weights rounded."""
    quantized = copy.deepcopy(network).eval()
    to_integers(quantized, names)
    for name in names:
        layer = quantized.get_submodule(name)
        layer.input_range.copy_(torch.tensor(ranges[name].input))
        layer.output_range.copy_(torch.tensor(ranges[name].output))
        layer.fine.copy_(fine_channels(layer, ranges[name].lowest))
    return quantized
