"""Convolutions by minimal filtering against PyTorch's direct ones, float32 on a CPU, by turns in one process.

python -m benchmarks.convolutions [--runs 15] [--threads 1] [--keep-pages]

The shapes are those of RAFT and FastFlowNet for frames of 448×1024; gradients are those of inputs, weights and biases.
"""

import argparse

import torch

from benchmarks.timing import Ways, add_options, machine, prepare, print_times
from mdflow.errors import InputError
from mdflow.kernels.native import panel, without_kernels
from mdflow.networks.convolution import Convolution

# What it is, inputs, outputs, kernel, groups, and its maps: batch, height, width.
LAYERS = (
    ("RAFT's gates", 256, 256, (1, 5), 1, (1, 56, 128)),
    ("RAFT's motion encoder", 256, 192, (3, 3), 1, (1, 56, 128)),
    ("the first of FastFlowNet's decoder", 87, 96, (3, 3), 1, (1, 112, 256)),
    ("its grouped ones", 96, 96, (3, 3), 3, (1, 112, 256)),
    ("FastFlowNet's pyramid", 32, 32, (3, 3), 1, (2, 112, 256)),
    ("the same, coarser", 64, 64, (3, 3), 1, (2, 56, 128)),
    ("the decoder of a coarse level", 87, 96, (3, 3), 1, (1, 14, 32)),
)


def main() -> None:
    """Print two tables a layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, runs=15)
    arguments = parser.parse_args()
    prepare(arguments)
    if panel() is None:
        raise InputError("There are no kernels for this processor, or no compiler; see docs/speed.md, Convolutions.")
    print(machine())
    for what, inputs, outputs, kernel, groups, maps in LAYERS:
        layer = Convolution(inputs, outputs, kernel, padding=tuple(side // 2 for side in kernel), groups=groups)
        title = f"{what}: {inputs} to {outputs}, kernel {kernel}, groups {groups}, maps {maps}"
        for end, ways in ways_of(layer, maps).items():
            print_times(title + end, ways, arguments.runs, "direct")


def ways_of(layer: Convolution, maps: tuple[int, int, int]) -> dict[str, Ways]:
    """Forward, and with its gradients, each directly and by minimal filtering."""
    batch, *size = maps
    x = torch.randn(batch, layer.in_channels, *size).to(memory_format=torch.channels_last).requires_grad_()
    gradient = torch.randn(batch, layer.out_channels, *size).to(memory_format=torch.channels_last)
    forward = torch.no_grad()(lambda: layer(x))

    def learn() -> None:
        torch.autograd.grad(layer(x), [x, *layer.parameters()], gradient)

    return {
        end: {"direct": without_kernels()(way), "minimal filtering": way}
        for end, way in ((", forward", forward), (", with gradients", learn))
    }


if __name__ == "__main__":
    main()
