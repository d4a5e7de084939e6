"""Whether one figure ranks things as another does."""

from collections.abc import Sequence

import numpy as np

from mdflow.errors import InputError


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation of two rows of figures, −1 to 1: Pearson's correlation of their ranks.

    Equal figures share the mean of their ranks; NaN where a row does not vary. Raises InputError for rows of
    unequal length or fewer than two figures (Spearman, American Journal of Psychology 1904).
    """
    if len(first) != len(second) or len(first) < 2:
        raise InputError(f"Ranks of {len(first)} and {len(second)} figures cannot be compared; give two equal rows.")
    ranks = np.stack([mean_ranks(np.asarray(row, float)) for row in (first, second)])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt((centred**2).sum(axis=1).prod())
    return float((centred[0] * centred[1]).sum() / spread) if spread else float("nan")


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 on of the values (n), smallest first; equal values get the mean of theirs."""
    _, group, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[group]
