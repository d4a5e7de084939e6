"""Settings that make a training so small that a benchmark can run it again and again."""

import json
from collections.abc import Mapping
from typing import Any

SMALL = {
    "batch_size": 1,
    "score_pairs": 1,
    "data.workers": 0,
    "data.frame": [64, 64],
    "augment.crop": [64, 64],
    "augment.eraser_size": [4, 8],
    "data.synthetic.size": [64, 64],
    "data.synthetic.length": 4,
    "data.synthetic.texture_count": 2,
}


def flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings by key.sub as arguments of a training verb."""
    return [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
