"""How often is the best match of a network's features the right one, before and after training?

python -m benchmarks.matches [--networks fastflownet ...] [--shipped] [--scenes 12] [--seed 5]

Of the pixels whose true match lies within 4 px, in pixels of the features' own map, the share whose largest of 81 costs
lies within 1.5 px of it. The cost is the inner product of the features as they are, by the statistics of whole maps
(UFlow), and as a cosine (mdflow.networks.layers.normalize_features).
"""

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow.commands.predictor import UNTRAINED, open_network
from mdflow.correlation import local_correlation
from mdflow.data.batches import planes
from mdflow.data.synthetic import Synthetic
from mdflow.networks.layers import PIXELS, normalize_features, subtract_mean
from mdflow.networks.network import FlowNetwork
from mdflow.reports.tables import text_table

RADIUS, NEAR = 4, 1.5
SIZES = (4, 8, 16, 32)  # pixels of the frame that one of a map covers; finer maps reach too little, coarser have few
Pair = tuple[Tensor, Tensor, Tensor]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["fastflownet", "pwcnet", "raft_small"])
    parser.add_argument("--shipped", action="store_true", help="with the shipped weights, not untrained ones")
    parser.add_argument("--scenes", type=int, default=12)
    parser.add_argument("--seed", type=int, default=5, help="of the scenes")
    arguments = parser.parse_args()
    scenes = Synthetic(arguments.scenes, (256, 320), (0.5, 16), arguments.seed, appearance=False, texture_count=64)
    pairs = [as_tensors(scenes[index]) for index in range(len(scenes))]
    rows = []
    for name in arguments.networks:
        network = open_network(name, None if arguments.shipped else UNTRAINED, []).eval()
        for way, prepare in WAYS.items():
            found = [matches(network, pair, prepare) for pair in pairs]
            means = {size: sum(one[size] for one in found) / len(found) for size in found[0]}
            rows.append([name, way, ", ".join(f"{100 * share:.0f} at 1/{size}" for size, share in means.items())])
    print(text_table(["network", "cost", "right matches, %"], rows, left=3))


def as_tensors(sample) -> Pair:
    """Both frames in [0,1] and the flow, batches of one."""
    image1, image2 = (planes(image)[None].float() / 255 for image in (sample.image1, sample.image2))
    return image1, image2, planes(sample.flow12)[None]


@torch.no_grad()
def matches(network: FlowNetwork, pair: Pair, prepare: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> dict:
    """The share of right matches, by how many pixels of the frame one of the map covers."""
    image1, image2, flow12 = pair
    found = {}
    for features1, features2 in zip(*network.encode(image1, image2), strict=True):
        size = image1.shape[-1] // features1.shape[-1]
        if size in SIZES and size not in found:
            cost = local_correlation(*prepare(features1, features2), RADIUS)
            best = cost.argmax(dim=1)
            side = 2 * RADIUS + 1
            displacement = torch.stack([best % side, best // side], dim=1) - RADIUS
            truth = F.avg_pool2d(flow12, size) / size
            near = truth.abs().amax(dim=1) < RADIUS
            found[size] = float(((displacement - truth).norm(dim=1) < NEAR)[near].float().mean())
    return found


def by_whole_maps(features1: Tensor, features2: Tensor) -> tuple[Tensor, Tensor]:
    """Centred and divided by their deviation, statistics of the pair over space and channels (UFlow, section 4.1)."""
    centred1, centred2 = subtract_mean(features1, features2)
    variance = sum(one.square().mean(dim=PIXELS, keepdim=True) for one in (centred1, centred2)) / 2
    return centred1 * variance.rsqrt(), centred2 * variance.rsqrt()


WAYS = {
    "as they are": lambda features1, features2: (features1, features2),
    "by whole maps": by_whole_maps,
    "cosine": normalize_features,
}


if __name__ == "__main__":
    main()
