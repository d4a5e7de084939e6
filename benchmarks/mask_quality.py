"""How good the reliable mask is: the error of the labels that it keeps and rejects, and how many it keeps, over τ.

python -m benchmarks.mask_quality [--checkpoint FILE] [--network NAME] [--data ROOT...] [--pairs 32]

Without --data on synthetic scenes that no training sees. Errors are pooled over the pixels of all pairs.
"""

import argparse
from collections.abc import Mapping

import numpy as np
import torch

from mdflow.commands.training import HELD_OUT_SEED
from mdflow.confidence import reliable_mask
from mdflow.config import ConfidenceConfig
from mdflow.data import open_datasets
from mdflow.data.sample import Dataset, Sample
from mdflow.imitation import pseudo_labels
from mdflow.inference import image_tensor
from mdflow.metrics import endpoint_error
from mdflow.networks.network import FlowNetwork
from mdflow.reports.tables import text_table
from teachers import load

QUANTILES = (0.95, 0.9, 0.8, 0.6)
THRESHOLDS = (30.0, 24.0, 20.0, 16.0, 12.0, 8.0, 4.0)
RULES: dict[str, ConfidenceConfig] = {
    "everything": ConfidenceConfig(occlusion=False, quantile=None),
    "visible": ConfidenceConfig(quantile=None),
    **{f"visible, quantile {q:g}": ConfidenceConfig(quantile=q) for q in QUANTILES},
    **{f"visible, τ = {t:g}": ConfidenceConfig(quantile=None, threshold=t) for t in THRESHOLDS},
    **{f"τ = {t:g} alone": ConfidenceConfig(occlusion=False, quantile=None, threshold=t) for t in THRESHOLDS[1::2]},
}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="fastflownet")
    parser.add_argument("--checkpoint", metavar="FILE", help="by default the weights that come with mdflow")
    parser.add_argument("--data", nargs="+", default=["synthetic"], metavar="ROOT", help="labelled sets")
    parser.add_argument("--pairs", type=int, default=32)
    arguments = parser.parse_args()
    data = open_datasets(arguments.data, length=arguments.pairs, seed=HELD_OUT_SEED)
    print(table(kept_and_rejected(load(arguments.network, arguments.checkpoint), data, arguments.pairs)))


def kept_and_rejected(network: FlowNetwork, data: Dataset, pairs: int) -> dict[str, np.ndarray]:
    """By rule [[pixels, sum of errors, pixels with an error over 3 px] of the kept, the same of the rejected]."""
    sums = {name: np.zeros((2, 3)) for name in RULES}
    for index in np.linspace(0, len(data) - 1, min(pairs, len(data))).astype(int):
        sample = data[int(index)]
        if sample.flow12 is not None:
            for name, found in of_pair(network, sample).items():
                sums[name] += found
    return sums


def of_pair(network: FlowNetwork, sample: Sample) -> dict[str, np.ndarray]:
    """The sums of kept_and_rejected for one pair with truth."""
    image1, image2 = image_tensor(sample.image1), image_tensor(sample.image2)
    flow12, flow21 = pseudo_labels(network, image1, image2)
    known = sample.known1
    truth = np.where(known[..., None], sample.flow12, 0)
    error = endpoint_error(flow12[0].permute(1, 2, 0).numpy(), truth)
    found = {}
    for name, rule in RULES.items():
        kept = reliable_mask(image1, image2, flow12, flow21, rule)[0, 0].numpy() > 0
        found[name] = np.array([sums(error[known & kept]), sums(error[known & ~kept])])
    return found


def sums(error: np.ndarray) -> tuple[float, float, float]:
    """How many, their sum, how many above 3 px."""
    return error.size, float(error.sum()), float((error > 3).sum())


def table(found: Mapping[str, np.ndarray]) -> str:
    """One line a rule."""
    lines = []
    for name, (kept, rejected) in found.items():
        density = 100 * kept[0] / max(kept[0] + rejected[0], 1)
        lines.append([name, f"{density:.1f}", *averages(kept), *averages(rejected)])
    heading = ["labels kept", "kept %", "EPE kept", ">3px % kept", "EPE rejected", ">3px % rejected"]
    return text_table(heading, lines)


def averages(one: np.ndarray) -> tuple[str, str]:
    """The mean error and the share above 3 px."""
    return (f"{one[1] / one[0]:.2f}", f"{100 * one[2] / one[0]:.1f}") if one[0] else ("-", "-")


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
