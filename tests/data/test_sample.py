import pytest

from mdflow.data.sample import spread


@pytest.mark.parametrize(
    ("length", "count", "chosen"),
    [(5, 3, [0, 2, 4]), (7, 4, [0, 2, 4, 6]), (3, 5, [0, 1, 2]), (100, 3, [0, 49, 99]), (4, 1, [0]), (0, 2, [])],
)
def test_samples_are_spread_from_the_first_to_the_last(length, count, chosen):
    assert spread(range(length), count) == chosen
