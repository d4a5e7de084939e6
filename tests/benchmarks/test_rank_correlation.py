import math

import pytest

from benchmarks.rank_correlation import spearman
from mdflow.errors import InputError


def test_only_the_order_counts():
    assert spearman([1, 2, 3, 4], [1, 10, 100, 1000]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [8, 4, 2, 1]) == pytest.approx(-1)


def test_by_hand():
    """Without ties it is 1 − 6·Σd² / (n(n² − 1)): the ranks differ by 0, 1, 1, 1, 1."""
    assert spearman([10, 20, 30, 40, 50], [0.1, 3, 2, 90, 8]) == pytest.approx(1 - 6 * 4 / (5 * 24))


def test_equal_figures_share_their_ranks():
    """Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5 over √(4.5 · 5)."""
    assert spearman([5, 7, 7, 9], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_what_does_not_vary_ranks_nothing():
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


@pytest.mark.parametrize(("first", "second"), [([1, 2], [1, 2, 3]), ([1], [1])])
def test_rows_that_cannot_be_compared(first, second):
    with pytest.raises(InputError, match="cannot be compared"):
        spearman(first, second)
