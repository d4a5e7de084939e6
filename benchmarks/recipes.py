"""Each network by its own published recipe, made small: does its error fall? One panel for each, in one picture.

python -m benchmarks.recipes -o OUT [--networks raft_small ...] [--rate 4e-4] [--chairs FlyingChairs]
    [--picture docs/recipes.png]

What a recipe says of loss and optimiser is kept; steps, batch, crop, data, the largest rate and a part of the
augmentation are not (SMALL, RECIPES).
The error is that of held-out synthetic scenes; of the FlyingChairs sample, that of the pairs trained on. A run that is
done is not repeated.
"""

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib as mpl

from mdflow.commands import main as mdflow
from mdflow.system.processor import fastest_precision
from mdflow.training import pick_device

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Recipe:
    """A published recipe, how long it is followed on fresh scenes, and what else makes it small enough."""

    file: str
    steps: int = 300
    smaller: dict[str, object] = field(default_factory=dict)
    on_scenes: dict[str, object] = field(default_factory=dict)  # where it learns from synthetic scenes


def scenes(length: int, height: int, width: int) -> dict[str, object]:
    """Synthetic scenes of up to 16 px."""
    size = [height, width]
    return {
        "data.frame": size,
        "data.synthetic": {
            "length": length,
            "size": size,
            "motion": [0.5, 16],
            "texture_count": 64,
            "appearance": False,
        },
    }


SAMPLE_STEPS = 300
RECIPES = {
    # No cost volume: it has to discover matching, of small crops and many pairs a step that are hardly turned.
    "lightflow": Recipe(
        "lightflow_chairs",
        3000,
        # Batch normalisation: of the sample, crops smaller than what it is judged on would have other statistics.
        {"augment.crop": [256, 320], "optimiser.learning_rate": 1e-3},
        scenes(800, 160, 224)
        | {"augment.crop": [128, 192], "batch_size": 16, "score_pairs": 24}
        | {"augment.rotation": 0.0, "augment.stretch": 0.2, "augment.flip_vertical": 0.1},
    ),
    "pwcnet": Recipe("pwcnet_chairs", 900),
    "liteflownet2": Recipe("liteflownet2_chairs_m3s3r3"),
    "fastflownet": Recipe("fastflownet_chairs"),
    # The recurrent ones leave zero flow later.
    "raft_small": Recipe("raft_chairs", 1000, {"network.options": {"iterations": 6}}),
    "deqflow": Recipe("deqflow_chairs", 600, {"network.options": {"size": "tiny", "iterations": 12, "corrections": 3}}),
}
SMALL = {
    "batch_size": 4,
    "seed": 1,
    "precision": fastest_precision(pick_device("auto")),
    "augment.crop": [192, 256],  # of 64x128 the coarsest level of a pyramid is a pixel or two: nothing is learned
    "augment.zoom": [0.0, 0.3],
    "augment.eraser_size": [8, 24],
    "augment.relative": 1.0,
    "data.held_out": [],
    "data.resize": True,
    "data.cache": True,
    "data.workers": 0,
    "score_pairs": 4,
    "checkpoint_every": 10000,
    "panel_every": 10000,
} | scenes(400, 256, 320)


def main() -> None:
    """Train, print one table, draw one picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--rate", type=float, default=4e-4, help="the largest learning rate of all recipes")
    parser.add_argument("--chairs", type=Path, metavar="ROOT", help="FlyingChairs, to measure on too")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "recipes.png")
    arguments = parser.parse_args()
    sources = {"synthetic": "synthetic"}
    if arguments.chairs:
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
    recipe = RECIPES[network]
    synthetic = source == "synthetic"
    steps = recipe.steps if synthetic else SAMPLE_STEPS
    settings = SMALL | {"optimiser.learning_rate": arguments.rate, "score_every": max(steps // 6, 50)} | recipe.smaller
    if synthetic:
        settings |= {"score_pairs": 16} | recipe.on_scenes
    parts = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    file = ROOT / "configs" / "supervised" / f"{recipe.file}.yaml"
    options = ["--network", network, "--data", source, "-o", str(run), "--steps", str(steps), "--overwrite"]
    if mdflow(["supervise", "--config", str(file), *options, *parts]):
        raise SystemExit(f"The recipe {recipe.file} did not train.")


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
