"""DEQ-Flow on a video, each fixed point looked for from nothing and from that of the pair before.

python -m benchmarks.deq_video --checkpoint RUN/network.safetensors SOURCE [--pairs 8] [--iterations 40]
    [--tolerance 1e-2] [--size 128x192]

SOURCE is a video or a folder of frames. For each pair: the solver's steps until its change is below `tolerance` of the
state, how far apart the two flows are, and the spectral radius of the refinement at the fixed point: below 1 it draws
nearby states in.
"""

import argparse
from pathlib import Path

import torch

from mdflow.commands.predictor import parse_size
from mdflow.data import open_dataset
from mdflow.fitting import resize
from mdflow.inference import image_tensor
from mdflow.networks.deqflow import DEQFlow
from mdflow.networks.fixed_point import spectral_radius
from mdflow.reports.tables import text_table
from teachers import load


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--tolerance", type=float, default=1e-2)
    parser.add_argument("--size", type=parse_size, default=[128, 192], metavar="HxW")
    arguments = parser.parse_args()
    options = {"iterations": arguments.iterations, "tolerance": arguments.tolerance, "relative": True}
    # The derivative must pass through the flow too, or the spectral radius would be that of the hidden state alone.
    network = load("deqflow", arguments.checkpoint, corrections=1, flow_gradient=True, **options)
    dataset = open_dataset(arguments.source)
    lines, state, totals = [], None, [0, 0]
    for index in range(min(arguments.pairs, len(dataset))):
        sample = dataset[index]
        images = [prepared(image, network, arguments.size) for image in (sample.image1, sample.image2)]
        with torch.no_grad():
            features = network.encode(*images)
            fresh, reused = network.solve(*features), network.solve(*features, start=state)
        state = reused.state
        apart = (fresh.flows[-1] - reused.flows[-1]).norm(dim=1).mean()
        speed = fresh.flows[-1].norm(dim=1).mean()
        radius = spectral_radius(network.dynamics(*features), fresh.state)
        steps = int(fresh.step), int(reused.step)
        totals = [total + step for total, step in zip(totals, steps, strict=True)]
        lines.append([sample.name, *map(str, steps), f"{apart:.3f}", f"{speed:.2f}", f"{float(radius):.2f}"])
    print(text_table(["pair", "steps", "re-using", "difference px", "motion px", "spectral radius"], lines, left=1))
    print(f"Steps in all: {totals[0]} from nothing, {totals[1]} from the fixed point before.")


def prepared(image: object, network: DEQFlow, size: list[int]) -> torch.Tensor:
    """A frame as (1,3,H,W) of the given size."""
    tensor = image_tensor(image)
    return resize(tuple(tensor.shape[-2:]), network.stride, tuple(size)).apply(tensor)


if __name__ == "__main__":
    main()
