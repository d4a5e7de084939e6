"""Every recipe in configs/ loads, validates, and trains a few steps on tiny data."""

from pathlib import Path

import pytest
import yaml

from mdflow.commands import main
from mdflow.config import DistillConfig, PretrainConfig, build

RECIPES = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
TINY = {
    "steps": 2,
    "batch_size": 1,
    "score_pairs": 1,
    "data.workers": 0,
    "data.frame": [64, 128],
    "data.synthetic.length": 2,
    "data.synthetic.size": [64, 128],
    "data.synthetic.texture_count": 4,
    "augment.crop": [64, 64],
    "augment.eraser_size": [4, 8],
    "loss.outputs": 2,
}


def test_there_are_recipes():
    assert len(RECIPES) >= 9


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_validates_as_written(recipe):
    kind = DistillConfig if "teacher" in yaml.safe_load(recipe.read_text()) else PretrainConfig
    config = build(kind, recipe)
    assert all(side % 8 == 0 for side in config.augment.crop), "RAFT's stride"


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipe_trains(recipe, tmp_path):
    distils = "teacher" in yaml.safe_load(recipe.read_text())
    settings = TINY | ({"student.options.iterations": 2} if distils else {})
    if "raft" in recipe.read_text() and not distils:
        settings |= {"network.options.iterations": 2}
    arguments = ["--config", str(recipe), "-o", str(tmp_path / "run"), "--data", "synthetic"]
    for key, value in settings.items():
        arguments += ["--set", f"{key}={value}"]
    assert main(["distill" if distils else "pretrain", *arguments]) == 0
    written = {path.name for path in (tmp_path / "run").glob("*.safetensors")}
    assert written == ({"teacher.safetensors", "student.safetensors"} if distils else {"network.safetensors"})
