"""What a network's convolutions see on frames, and from it: their grids, and which of them stay in floats."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mdflow.data.sample import Sample, spread
from mdflow.deployment.quantize import STEPS, Grid, Ranges, convolutions, quantize
from mdflow.inference import Predictor
from mdflow.networks.network import FlowNetwork

KEPT_VALUES = 4096  # of each tensor
SHRINKINGS = np.geomspace(1, 0.05, 25)  # of an end of a range; what lies beyond is clipped
HEADROOM = 1.5  # times what was seen is what a wide range holds
EXPONENT = 1.2  # of the rounding error that a tight range makes least: below 2, so that rare large values count little
WORTHWHILE = 0.95  # of all that tight ranges could gain
SMALL = 0.5  # percent of the multiply-adds
JUDGED = 6  # of the samples show how far a convolution moves the flow

Values = tuple[np.ndarray, np.ndarray]  # that a convolution took and gave


class Calibration(NamedTuple):
    """Each convolution's ranges, and the `distance` that it alone, quantised, moves the flow, the farthest first."""

    ranges: dict[str, Ranges]
    moved: dict[str, float]


def calibrate(network: FlowNetwork, samples: Sequence[Sample]) -> Calibration:
    """The ranges of all convolutions from what they see on the samples.

    Wide ranges hold more than was seen, for faster motion that is clipped is lost. Tight ones clip rare large values
    for the sake of the many small ones, which is what sub-pixel motion is made of; but samples cannot show what it
    costs to clip a motion that they do not have. So only the convolutions get them that gain most, until little is
    left to gain.
    """
    seen = observe(network, samples)
    wide = {name: Ranges(wide_range(x), wide_range(y)) for name, (x, y) in seen.items()}
    tight = {name: Ranges(tight_range(x), tight_range(y)) for name, (x, y) in seen.items()}
    judged = spread(samples, JUDGED)
    moved, moved_tight = sensitivity(network, wide, judged), sensitivity(network, tight, judged)
    chosen = worth_clipping(moved, moved_tight)
    moved |= {name: moved_tight[name] for name in chosen}
    return Calibration(wide | {name: tight[name] for name in chosen}, farthest_first(moved))


@torch.no_grad()
def observe(network: FlowNetwork, samples: Iterable[Sample]) -> dict[str, Values]:
    """Some of the values that each convolution takes and gives, the least and the largest always among them."""
    seen: dict[str, list[Values]] = {}
    rng = np.random.default_rng(0)

    def look(name: str, x: Tensor, y: Tensor) -> None:
        seen.setdefault(name, []).append((some_values(x, rng), some_values(y, rng)))

    hooks = [
        module.register_forward_hook(lambda _, inputs, output, name=name: look(name, inputs[0], output))
        for name, module in convolutions(network).items()
    ]
    predictor = Predictor(network)
    for sample in samples:
        predictor(sample.image1, sample.image2)
    for hook in hooks:
        hook.remove()
    return {name: tuple(map(np.concatenate, zip(*pairs, strict=True))) for name, pairs in seen.items()}


def some_values(x: Tensor, rng: np.random.Generator) -> np.ndarray:
    """A random part of the values, and the least and the largest of all."""
    values = x.detach().float().flatten().cpu().numpy()
    chosen = rng.integers(0, values.size, min(values.size, KEPT_VALUES))
    return np.concatenate([values[chosen], [values.min(), values.max()]])


def whole_range(values: np.ndarray) -> tuple[float, float]:
    """The (least, largest) of the values and 0."""
    return min(float(values.min()), 0.0), max(float(values.max()), 0.0)


def wide_range(values: np.ndarray) -> tuple[float, float]:
    """The (least, largest) of the values and 0, with headroom."""
    low, high = whole_range(values)
    return HEADROOM * low, HEADROOM * high


def tight_range(values: np.ndarray) -> tuple[float, float]:
    """The (least, largest) whose grid rounds the values with the least error."""
    low, high = whole_range(values)
    lows, highs = low * SHRINKINGS, high * SHRINKINGS
    # One end after the other, twice: each has a flat optimum that depends little on the other.
    for _ in range(2):
        low = min(lows, key=lambda end: rounding_error(values, end, high))
        high = min(highs, key=lambda end: rounding_error(values, low, end))
    return float(low), float(high)


def rounding_error(values: np.ndarray, low: float, high: float) -> float:
    """The mean of |error|^EXPONENT of values on the grid."""
    scale, zero_point = Grid.over(low, high)
    rounded = (np.clip(np.rint(values / scale) + zero_point, 0, STEPS) - zero_point) * scale
    return float((np.abs(rounded - values) ** EXPONENT).mean())


def sensitivity(network: FlowNetwork, ranges: Mapping[str, Ranges], samples: Sequence[Sample]) -> dict[str, float]:
    """How far each convolution's integers alone move the flow (see `distance`), the farthest first.

    From the flow of rounded weights, which all convolutions have.
    """
    floats = Predictor(quantize(network, {}, []))
    flows = [floats(sample.image1, sample.image2) for sample in samples]
    return farthest_first({name: distance(quantize(network, ranges, [name]), samples, flows) for name in ranges})


def farthest_first(moved: Mapping[str, float]) -> dict[str, float]:
    """The largest value first."""
    return dict(sorted(moved.items(), key=lambda one: -one[1]))


def worth_clipping(moved: Mapping[str, float], moved_tight: Mapping[str, float]) -> list[str]:
    """The convolutions whose tight ranges make up most of what tight ranges can gain, those that gain most first.

    moved, moved_tight: how far each moves the flow with wide and with tight ranges. Independent roundings add
    up in squares, so a gain is the difference of the squares.
    """
    gains = {name: moved[name] ** 2 - moved_tight[name] ** 2 for name in moved}
    order = [name for name in sorted(gains, key=gains.get, reverse=True) if gains[name] > 0]
    before = accumulate((gains[name] for name in order), initial=0.0)
    enough = WORTHWHILE * sum(gains[name] for name in order)
    return [name for name, gained in zip(order, before, strict=False) if gained < enough]


def choose_floats(moved: Mapping[str, float], shares: Mapping[str, float], most: float) -> list[str]:
    """The convolutions to leave in floats: those that move the flow most for what they compute, `most` percent in all.

    moved: how far each moves the flow when quantised; shares: its percent of the multiply-adds. Independent roundings
    add up in squares, so what is gained by leaving one out is its square. First of all come the SMALL ones, whose
    integers save no time: on coarse grids, where the fast motion is found that samples have too little of.
    """
    worth = {name: moved[name] ** 2 / max(shares[name], 1e-9) for name in moved}
    order = sorted(moved, key=lambda name: (shares[name] < SMALL, worth[name]), reverse=True)
    spent = accumulate(shares[name] for name in order)
    return [name for name, total in zip(order, spent, strict=True) if total <= most]


def distance(network: FlowNetwork, samples: Sequence[Sample], flows: Sequence[np.ndarray]) -> float:
    """Mean distance of the network's flows from given ones, as a share of 1 px + their length.

    In pixels alone the fastest scenes would decide, where a rounding sends some pixels far off one way or another.
    """
    predictor = Predictor(network)
    shares = []
    for sample, flow in zip(samples, flows, strict=True):
        moved = np.linalg.norm(predictor(sample.image1, sample.image2) - flow, axis=-1)
        shares.append(float((moved / (1 + np.linalg.norm(flow, axis=-1))).mean()))
    return float(np.mean(shares))
