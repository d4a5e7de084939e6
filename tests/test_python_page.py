"""The code of docs/python.md runs as it stands."""

import re
from pathlib import Path

import numpy as np

from mdflow.data.io import write_image

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def test_the_pieces_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        write_image(Path(f"{number}.png"), np.random.default_rng(number).integers(0, 256, (70, 90, 3), np.uint8))
    pieces = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for piece in pieces:
        exec(compile(piece, str(PAGE), "exec"), names)
    assert names["flow"].shape == (70, 90, 2)
    assert names["flows"][-1].shape == (1, 2, 128, 192)
    assert names["figures"]["epe"] < 3
    assert names["flow12"].grad.abs().sum() > 0
    assert names["costs"].shape == (1, 81, 28, 64)
