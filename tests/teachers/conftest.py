"""The recorded outputs of the original implementations, where the developer has them."""

import importlib.util
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2].parent / "shared" / "reference"


@pytest.fixture
def original(tmp_path):
    """original(case): (released file in the original layout, the two images, the recorded outputs)."""

    def write(case):
        if not (FOLDER / f"{case}.npz").exists():
            pytest.skip(f"the recorded outputs of {case} are not here")
        spec = importlib.util.spec_from_file_location("parameters", FOLDER / "parameters.py")
        parameters = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(parameters)
        _, state, arrays = parameters.load_case(case, FOLDER)
        path = tmp_path / f"{case}.pth"
        torch.save({key: torch.as_tensor(value) for key, value in state.items()}, path)
        images = [
            torch.from_numpy(arrays.pop(key)).permute(2, 0, 1)[None].float() / 255 for key in ("image1", "image2")
        ]
        return path, images, {key: torch.from_numpy(value) for key, value in arrays.items()}

    return write
