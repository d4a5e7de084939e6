"""Each network by its own published recipe, made small: does its error fall? One panel for each, in one picture.

python benchmarks/recipes.py -o OUT [--steps 300] [--networks raft_small ...] [--rate 4e-4] [--chairs FlyingChairs]
    [--picture docs/recipes.png]

What a recipe says of loss, optimiser and augmentation is kept; steps, batch, crop, data and the largest rate are not.
The error is that of held-out synthetic scenes; of the FlyingChairs sample, that of the pairs trained on. A run that is
done is not repeated.
"""

import argparse
import json
from pathlib import Path

import matplotlib as mpl

from mdflow.commands import main as mdflow

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
CHAIRS = ROOT.parent / "shared" / "data" / "FlyingChairs"
RECIPES = {  # network: its recipe, and what else makes it small enough
    # Batch normalisation: crops smaller than what it is judged on would have other statistics.
    "lightflow": ("lightflow_chairs", {"augment.crop": [256, 320], "optimiser.learning_rate": 1e-3}),
    "pwcnet": ("pwcnet_chairs", {}),
    "liteflownet2": ("liteflownet2_chairs_m3s3r3", {}),
    "fastflownet": ("fastflownet_chairs", {}),
    "raft_small": ("raft_chairs", {"network.options": {"iterations": 6}}),
    "deqflow": ("deqflow_chairs", {"network.options": {"size": "tiny", "iterations": 12, "corrections": 3}}),
}
SMALL = {
    "batch_size": 4,
    "seed": 1,
    "precision": "bfloat16",
    "augment.crop": [192, 256],  # of 64x128 the coarsest level of a pyramid is a pixel or two: nothing is learned
    "augment.zoom": [0.0, 0.3],
    "augment.eraser_size": [8, 24],
    "augment.relative": 1.0,
    "data.frame": [256, 320],
    "data.held_out": [],
    "data.resize": True,
    "data.cache": True,
    "data.workers": 0,
    "data.synthetic": {
        "length": 60,
        "size": [256, 320],
        "motion": [0.5, 8],
        "texture_count": 24,
        "appearance": False,
    },
    "score_pairs": 4,
    "checkpoint_every": 10000,
    "panel_every": 10000,
}


def main() -> None:
    """Train, print one table, draw one picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--networks", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--rate", type=float, default=4e-4, help="the largest learning rate of all recipes")
    parser.add_argument("--chairs", type=Path, default=CHAIRS)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "recipes.png")
    arguments = parser.parse_args()
    sources = {"synthetic": "synthetic"}
    if arguments.chairs.exists():
        sources["FlyingChairs sample"] = str(arguments.chairs)
    curves = {}
    for label, source in sources.items():
        for network in arguments.networks:
            run = arguments.out / f"{network}_{label.split()[0]}"
            if not (run / "network.safetensors").exists():
                train(network, source, run, arguments)
            curves[network, label] = errors(run)
            zero, points = curves[network, label]
            told = ", ".join(f"{error:.2f} after {steps}" for steps, error in points)
            print(f"{network:14} {label:20} EPE {told} steps; zero flow {zero:.2f}", flush=True)
            draw(curves, arguments.picture)


def train(network: str, source: str, run: Path, arguments: argparse.Namespace) -> None:
    """The recipe's run on a source."""
    recipe, smaller = RECIPES[network]
    every = max(arguments.steps // 5, 1)
    settings = SMALL | {"optimiser.learning_rate": arguments.rate, "score_every": every} | smaller
    parts = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    file = ROOT / "configs" / "supervised" / f"{recipe}.yaml"
    options = ["--network", network, "--data", source, "-o", str(run), "--steps", str(arguments.steps), "--overwrite"]
    if mdflow(["supervise", "--config", str(file), *options, *parts]):
        raise SystemExit(f"The recipe {recipe} did not train.")


def errors(run: Path) -> tuple[float, list[tuple[int, float]]]:
    """The error of zero flow, and steps done with the error then."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    judged = [line for line in lines if "epe" in line]
    return judged[0]["epe_zero"], [(line["step"], line["epe"]) for line in judged]


def draw(curves: dict[tuple[str, str], tuple[float, list[tuple[int, float]]]], path: Path) -> None:
    """One panel for each network; dashed is zero flow."""
    networks = list(dict.fromkeys(network for network, _ in curves))
    rows = -(-len(networks) // 3)
    figure, panels = plt.subplots(rows, 3, figsize=(8.4, 2.3 * rows), squeeze=False, layout="constrained")
    for panel in panels.flat[len(networks) :]:
        panel.axis("off")
    for panel, network in zip(panels.flat, networks, strict=False):
        for (owner, label), (zero, points) in curves.items():
            if owner == network:
                (line,) = panel.plot(*zip(*points, strict=True), marker=".", label=label)
                panel.axhline(zero, color=line.get_color(), linestyle="--", linewidth=0.8)
        panel.set_title(network, fontsize=9)
        panel.set_ylim(bottom=0)
        panel.tick_params(labelsize=7)
        panel.grid(alpha=0.3)
    panels[0, 0].legend(fontsize=7)
    figure.supxlabel("steps (dashed: zero flow)", fontsize=8)
    figure.supylabel("EPE, px", fontsize=8)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
