"""How long a call takes: several ways in turn, so that what disturbs the machine disturbs all alike."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np


class Latency(NamedTuple):
    """Milliseconds a call: the median, and what 95 of 100 calls stay below."""

    median: float
    p95: float


def measure_latency(ways: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 2) -> dict[str, Latency]:
    """The latency of each way, called once a round; the first `warm_up` rounds do not count."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(warm_up + rounds):
        for name, call in ways.items():
            start = time.perf_counter()
            call()
            if number >= warm_up:
                taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: Latency(float(np.median(ms)), float(np.percentile(ms, 95))) for name, ms in taken.items()}
