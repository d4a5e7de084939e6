"""Where an index lies in a dataset that is made of parts, such as files, one after the other."""

import numpy as np


def locate(ends: np.ndarray, index: int) -> tuple[int, int]:
    """The part that holds an index, and the place in it; `ends` are the lengths of the parts, summed up.

    Raises IndexError outside.
    """
    if not 0 <= index < ends[-1]:
        raise IndexError(index)
    part = int(np.searchsorted(ends, index, side="right"))
    return part, index - (int(ends[part - 1]) if part else 0)


def stretches(ends: np.ndarray, longest: int | None = None) -> list[range]:
    """The indices of each part, cut into pieces of at most `longest`."""
    longest = longest or int(ends[-1])
    return [
        range(begin, min(begin + longest, end))
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)
        for begin in range(start, end, longest)
    ]
