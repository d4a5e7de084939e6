import numpy as np
import pytest

from mdflow.data.colour import Colour

IMAGE = np.random.default_rng(0).integers(40, 200, (24, 32, 3), np.uint8)


def test_the_same_seed_gives_the_same_colours():
    first, again = Colour(1.0, 0.5), Colour(1.0, 0.5)
    for seed in range(4):
        for one, other in zip(first(IMAGE, IMAGE, seed), again(IMAGE, IMAGE, seed), strict=True):
            assert np.array_equal(one, other)
    assert not np.array_equal(first(IMAGE, IMAGE, 1)[0], first(IMAGE, IMAGE, 2)[0])


def test_colours_do_not_depend_on_what_was_drawn_before():
    used = Colour(1.0, 0.5)
    for seed in range(3):
        used(IMAGE, IMAGE, seed)
    for one, other in zip(used(IMAGE, IMAGE, 9), Colour(1.0, 0.5)(IMAGE, IMAGE, 9), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("strength", [0.1, 1.0, 3.0])
def test_frames_keep_their_shape_and_type(strength):
    colour = Colour(strength, 0.2)
    for seed in range(6):
        for frame in colour(IMAGE, IMAGE[:, ::-1].copy(), seed):
            assert frame.shape == IMAGE.shape
            assert frame.dtype == np.uint8


def mean_colours(asymmetric: float) -> np.ndarray:
    """How far the mean colours of two equal frames come to lie apart, for some seeds."""
    colour = Colour(1.0, asymmetric)
    pairs = [colour(IMAGE, IMAGE, seed) for seed in range(20)]
    return np.array([np.abs(one.mean((0, 1)) - other.mean((0, 1))).max() for one, other in pairs])


def test_both_frames_get_the_same_colours_unless_asked_otherwise():
    together, apart = mean_colours(0.0), mean_colours(1.0)
    # Noise and blur, which are each frame's own, hardly change a mean.
    assert (together < 3).all()
    assert np.median(apart) > 5


def test_the_input_stays_as_it_is():
    before = IMAGE.copy()
    Colour(1.0, 1.0)(IMAGE, IMAGE, 3)
    assert np.array_equal(IMAGE, before)
