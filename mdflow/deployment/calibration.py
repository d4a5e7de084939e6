"""What a network's convolutions see on frames, and from it: their grids, and which of them stay in floats."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mdflow.data.sample import Sample, spread
from mdflow.deployment.quantize import MIRRORED, STEPS, Grid, Ranges, convolutions, quantize
from mdflow.inference import Predictor
from mdflow.kernels.native import without_kernels
from mdflow.networks.network import FlowNetwork

KEPT_VALUES = 4096  # of each tensor
SHRINKINGS = np.geomspace(1, 0.05, 25)  # of an end of a range; what lies beyond is clipped
HEADROOM = 1.5  # times what was seen is what a wide range holds
EXPONENT = 1.2  # of the rounding error that a tight range makes least: below 2, so that rare large values count little
WORTHWHILE = 0.95  # of all that tight ranges could gain
SMALL = 0.5  # percent of the multiply-adds
JUDGED = 6  # of the samples show how far a convolution moves the flow


class Seen(NamedTuple):
    """Some of the values that a convolution took and gave, and the least value of each input channel.

    slope: of the activation behind it, below 0; 1 where there is none.
    """

    taken: np.ndarray
    given: np.ndarray
    least: np.ndarray
    slope: float


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
    wide, tight = ({name: find(one) for name, one in seen.items()} for find in (wide_ranges, tight_ranges))
    judged = spread(samples, JUDGED)
    moved, moved_tight = sensitivity(network, wide, judged), sensitivity(network, tight, judged)
    chosen = worth_clipping(moved, moved_tight)
    moved |= {name: moved_tight[name] for name in chosen}
    return Calibration(wide | {name: tight[name] for name in chosen}, farthest_first(moved))


def wide_ranges(seen: Seen) -> Ranges:
    """A convolution's ranges with headroom."""
    return Ranges(wide_range(seen.taken), wide_range(seen.given), lowest_channels(seen))


def tight_ranges(seen: Seen) -> Ranges:
    """A convolution's ranges of least error, that of what it gives behind the activation."""
    return Ranges(tight_range(seen.taken), tight_range(seen.given, seen.slope), lowest_channels(seen))


def lowest_channels(seen: Seen) -> tuple[int, ...]:
    """The input channels whose least values are the lowest."""
    return tuple(np.argsort(seen.least)[:MIRRORED].tolist())


@torch.no_grad()
def observe(network: FlowNetwork, samples: Iterable[Sample]) -> dict[str, Seen]:
    """What each convolution sees, the least and the largest values always among those that are kept."""
    seen: dict[str, list[Seen]] = {}
    rng, slopes = np.random.default_rng(0), slopes_behind(network)

    def look(name: str, x: Tensor, y: Tensor) -> None:
        least = x.detach().float().amin(dim=(0, 2, 3)).cpu().numpy()
        seen.setdefault(name, []).append(Seen(some_values(x, rng), some_values(y, rng), least, slopes.get(name, 1.0)))

    hooks = [
        module.register_forward_hook(lambda _, inputs, output, name=name: look(name, inputs[0], output))
        for name, module in convolutions(network).items()
    ]
    predictor = Predictor(network)
    with without_kernels():  # which would give a convolution's outputs behind its activation alone
        for sample in samples:
            predictor(sample.image1, sample.image2)
    for hook in hooks:
        hook.remove()
    return {name: all_seen(pairs) for name, pairs in seen.items()}


def all_seen(pairs: Iterable[Seen]) -> Seen:
    """What was seen on several pairs."""
    taken, given, least, slopes = zip(*pairs, strict=True)
    return Seen(np.concatenate(taken), np.concatenate(given), np.min(least, axis=0), slopes[0])


def slopes_behind(network: FlowNetwork) -> dict[str, float]:
    """The slope below 0 of the LeakyReLU right behind a convolution, for those that have one."""
    names = {layer: name for name, layer in convolutions(network).items()}
    sequences = [list(module) for module in network.modules() if isinstance(module, nn.Sequential)]
    pairs = [pair for sequence in sequences for pair in pairwise(sequence)]
    return {
        names[one]: other.negative_slope for one, other in pairs if one in names and isinstance(other, nn.LeakyReLU)
    }


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


def tight_range(values: np.ndarray, slope: float = 1.0) -> tuple[float, float]:
    """The (least, largest) whose grid rounds the values with the least error behind an activation."""
    low, high = whole_range(values)
    lows, highs = low * SHRINKINGS, high * SHRINKINGS
    # One end after the other, twice: each has a flat optimum that depends little on the other.
    for _ in range(2):
        low = min(lows, key=lambda end: rounding_error(values, end, high, slope))
        high = min(highs, key=lambda end: rounding_error(values, low, end, slope))
    return float(low), float(high)


def rounding_error(values: np.ndarray, low: float, high: float, slope: float = 1.0) -> float:
    """The mean of |error|^EXPONENT of values on the grid, behind an activation with a slope below 0."""
    scale, zero_point = Grid.over(low, high)
    rounded = (np.clip(np.rint(values / scale) + zero_point, 0, STEPS) - zero_point) * scale
    error = np.maximum(rounded, slope * rounded) - np.maximum(values, slope * values)
    return float((np.abs(error) ** EXPONENT).mean())


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


def choose_floats(
    moved: Mapping[str, float], shares: Mapping[str, float], most: float, grouped: Collection[str] = ()
) -> list[str]:
    """The convolutions to leave in floats: those that move the flow most for what they compute, `most` percent in all.

    moved: how far each moves the flow when quantised; shares: its percent of the multiply-adds. Independent roundings
    add up in squares, so what is gained by leaving one out is its square. First of all come the SMALL ones, whose
    integers save no time: on coarse grids, where the fast motion is found that samples have too little of. Of the
    others the `grouped` ones come last: with a shuffle behind them, and integers before and after, floats take
    ONNX Runtime twice their time.
    """
    worth = {name: moved[name] ** 2 / max(shares[name], 1e-9) for name in moved}
    small = {name for name in moved if shares[name] < SMALL}
    last = set(grouped) - small
    order = sorted(moved, key=lambda name: (name in small, name not in last, worth[name]), reverse=True)
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
