"""Every recipe in configs/ loads, validates, and trains a few steps on tiny data."""

from pathlib import Path

import pytest
import yaml

from mdflow.commands import main
from mdflow.config import DistillConfig, PretrainConfig, SuperviseConfig
from mdflow.settings import build

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = [*sorted(CONFIGS.glob("*.yaml")), *sorted((CONFIGS / "supervised").glob("*.yaml"))]
KINDS = {"pretrain": PretrainConfig, "distill": DistillConfig, "supervise": SuperviseConfig}
TINY = {
    "steps": 2,
    "batch_size": 1,
    "score_pairs": 1,
    "data.workers": 0,
    "data.frame": [64, 128],
    "data.held_out": [],
    "data.synthetic.length": 2,
    "data.synthetic.size": [64, 128],
    "data.synthetic.texture_count": 4,
    "augment.crop": [64, 64],
    "augment.eraser_size": [4, 8],
}
FEWER = {
    "pretrain": {"loss.outputs": 2},
    "distill": {"loss.outputs": 2, "student.options.iterations": 2},
    "supervise": {},
}


def verb_of(recipe: Path) -> str:
    """The verb that a recipe is for."""
    if recipe.parent.name == "supervised":
        return "supervise"
    return "distill" if "teacher" in yaml.safe_load(recipe.read_text()) else "pretrain"


def smaller(recipe: Path) -> dict[str, object]:
    """Settings that make the recipe's iterative network quick."""
    network = yaml.safe_load(recipe.read_text()).get("network", {"name": ""})["name"]
    options = {"network.options.iterations": 2} if network in ("raft", "deqflow", "deqflow_huge") else {}
    if network == "lightflow":
        options = {"augment.crop": [64, 128]}  # one value a channel cannot be normalised
    if network.startswith("deqflow"):
        corrections = min(2, yaml.safe_load(recipe.read_text())["network"]["options"]["corrections"])
        options |= {"network.options.corrections": corrections, "network.options.size": "tiny"}
    return options


def test_there_are_recipes():
    assert len(RECIPES) >= 30


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_validates_as_written(recipe):
    config = build(KINDS[verb_of(recipe)], recipe)
    assert all(side % 8 == 0 for side in config.augment.crop), "RAFT's stride"
    assert all(side <= frame for side, frame in zip(config.augment.crop, config.data.frame, strict=True))
    assert len(recipe.read_text().splitlines()) <= 40


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_trains(recipe, tmp_path):
    verb = verb_of(recipe)
    arguments = ["--config", str(recipe), "-o", str(tmp_path / "run"), "--data", "synthetic"]
    for key, value in (TINY | FEWER[verb] | smaller(recipe)).items():
        arguments += ["--set", f"{key}={value}"]
    assert main([verb, *arguments]) == 0
    written = {path.name for path in (tmp_path / "run").glob("*.safetensors")}
    assert written == ({"teacher.safetensors", "student.safetensors"} if verb == "distill" else {"network.safetensors"})
