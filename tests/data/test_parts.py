import numpy as np
import pytest

from mdflow.data.parts import locate, stretches

ENDS = np.cumsum([2, 0, 3, 1])


def test_every_index_lies_in_one_part():
    assert [locate(ENDS, index) for index in range(6)] == [(0, 0), (0, 1), (2, 0), (2, 1), (2, 2), (3, 0)]
    for outside in (-1, 6):
        with pytest.raises(IndexError):
            locate(ENDS, outside)


def test_stretches_stay_within_a_part():
    assert stretches(ENDS) == [range(2), range(2, 5), range(5, 6)]
    assert stretches(ENDS, longest=2) == [range(2), range(2, 4), range(4, 5), range(5, 6)]
