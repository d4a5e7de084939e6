"""Errors of a flow against the truth: per pixel, per region of a frame, averaged over a set."""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

import cv2
import numpy as np

from mdflow.data.sample import Sample
from mdflow.errors import InputError

SPEED_BANDS = {"s0-10": (0, 10), "s10-40": (10, 40), "s40+": (40, np.inf)}
DISTANCE_BANDS = {"d0-10": (0, 10), "d10-60": (10, 60), "d60-140": (60, 140)}

# Where fewer pixels than this share have labels (KITTI's laser), no boundary of an occlusion can be located.
DENSE = 0.5

# Regions that nearly every frame has: their EPE is the mean of per-image means. The EPE of any other
# region is pooled over pixels, because a frame with three such pixels should not count as much as any.
AVERAGED_PER_IMAGE = ("all", "matched")

HOW_AVERAGED = (
    "EPE (all known pixels, and matched/noc): mean over pairs of each pair's mean. Fl-all (error > 3 px and "
    "> 5 % of the true flow), the shares above 1, 3, 5 px and the EPE of every other region: pooled over all "
    "pixels."
)


@dataclass(frozen=True)
class Tally:
    """Sums over the pixels of one region of one pair."""

    pixels: int
    error: float
    fl: int
    over1: int
    over3: int
    over5: int


Tallies = Mapping[str, Tally]


def endpoint_error(flow: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Euclidean distance in pixels, (H,W), between two flows (H,W,2); InputError when their sizes differ."""
    if flow.shape != truth.shape:
        raise InputError(f"The flow is {_size(flow)} and its truth {_size(truth)}; both must have one size.")
    return np.linalg.norm(flow.astype(np.float64) - truth, axis=-1)


def fl_outliers(error: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Outliers as KITTI-2015 counts them, (H,W) bool: error > 3 px and > 5 % of the true flow."""
    speed = np.linalg.norm(truth, axis=-1)
    # Written as "not within", so that a NaN counts as an outlier.
    return ~(error <= 3) & ~(error <= 0.05 * speed)


def regions(sample: Sample) -> dict[str, np.ndarray]:
    """Masks (H,W) of the parts of frame 1 whose error is reported apart, as far as the sample's labels allow.

    "all" is every known pixel (KITTI's occ), "matched" those that frame 2 shows (KITTI's noc), "unmatched"
    the others; s… are bands of true speed in pixels a frame, d… of the distance in pixels to the nearest
    boundary of an occlusion (Butler et al. 2012, the Sintel benchmark), where the labels are dense; "fg" and
    "bg" are KITTI-2015's moving objects and the rest.
    """
    speed = np.linalg.norm(sample.flow12, axis=-1)
    known = sample.known1
    masks = {"all": known}
    if sample.visible1 is not None:
        masks["matched"] = known & sample.visible1
        masks["unmatched"] = known & ~sample.visible1
    if sample.foreground1 is not None:
        masks["fg"] = known & sample.foreground1
        masks["bg"] = known & ~sample.foreground1
    masks |= {name: known & (speed >= low) & (speed < high) for name, (low, high) in SPEED_BANDS.items()}
    if sample.visible1 is not None and known.mean() > DENSE:
        distance = distance_to_occlusion_boundary(sample.visible1)
        for name, (low, high) in DISTANCE_BANDS.items():
            masks[name] = known & (distance >= low) & (distance < high)
    return masks


def distance_to_occlusion_boundary(visible: np.ndarray) -> np.ndarray:
    """Distance in pixels, (H,W), to the nearest pixel where `visible` (H,W) changes; inf if it never does."""
    across = visible[:, 1:] != visible[:, :-1]
    down = visible[1:] != visible[:-1]
    boundary = np.zeros(visible.shape, bool)
    boundary[:, 1:] |= across
    boundary[:, :-1] |= across
    boundary[1:] |= down
    boundary[:-1] |= down
    if not boundary.any():
        return np.full(visible.shape, np.inf)
    return cv2.distanceTransform((~boundary).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def tally(flow: np.ndarray, sample: Sample) -> dict[str, Tally]:
    """Sums of the errors of flow (H,W,2) over each region of a sample with truth."""
    error = endpoint_error(flow, sample.flow12)
    measures = [fl_outliers(error, sample.flow12), *(~(error <= limit) for limit in (1, 3, 5))]
    return {
        name: Tally(int(mask.sum()), float(error[mask].sum()), *(int(bad[mask].sum()) for bad in measures))
        for name, mask in regions(sample).items()
    }


def summarise(pairs: Iterable[Tallies]) -> dict[str, float]:
    """Figures of a set from the tallies of its pairs, averaged as HOW_AVERAGED says.

    Keys: "pairs"; "epe" in pixels; "fl", "over1", "over3", "over5" in percent; the same with "_REGION" behind
    them for every other region, such as "epe_unmatched", or "pairs_matched" for the pairs that have such
    pixels. A region that no pair has is left out.
    """
    pairs = list(pairs)
    figures: dict[str, float] = {}
    for name in dict.fromkeys(name for tallies in pairs for name in tallies):
        seen = [tallies[name] for tallies in pairs if name in tallies and tallies[name].pixels]
        if seen:
            suffix = "" if name == "all" else f"_{name}"
            averages = {"pairs": len(seen), **_average(seen, per_image=name in AVERAGED_PER_IMAGE)}
            figures |= {key + suffix: value for key, value in averages.items()}
    return figures


def _average(seen: list[Tally], per_image: bool) -> dict[str, float]:
    pixels, error, *counts = (float(total) for total in np.sum([astuple(one) for one in seen], axis=0))
    epe = float(np.mean([one.error / one.pixels for one in seen])) if per_image else error / pixels
    shares = (100 * count / pixels for count in counts)
    return {"epe": epe, **dict(zip(("fl", "over1", "over3", "over5"), shares, strict=True))}


def _size(flow: np.ndarray) -> str:
    return "x".join(str(length) for length in flow.shape)
