"""Scenes whose large surfaces repeat."""

import numpy as np
import pytest

from mdflow.data.scenes.regular import lit, plane_wave, random_lattice, regular_surfaces, regular_texture
from mdflow.data.scenes.textures import SIZE
from mdflow.data.synthetic import Synthetic
from mdflow.errors import InputError

SMALL = {"length": 12, "size": (64, 80), "motion": (1.0, 5.0), "texture_count": 4, "seed": 1}


def test_a_plane_wave_is_the_cosine_of_its_phase():
    y, x = np.mgrid[:SIZE, :SIZE]
    expected = np.cos(2 * np.pi * (0.03 * x - 0.07 * y) + 0.4)
    assert np.abs(plane_wave(np.array([0.03, -0.07]), 0.4) - expected).max() < 1e-4


@pytest.mark.parametrize("seed", range(6))
def test_a_pattern_looks_the_same_a_period_away_until_it_is_lit(seed):
    texture = regular_texture(np.random.default_rng(seed)).astype(float).mean(-1)
    spectrum = np.abs(np.fft.rfft2((texture - texture.mean()) * np.outer(np.hanning(SIZE), np.hanning(SIZE)))) ** 2
    # Its power lies in few frequencies: noise of this size would have 4 % in its top 0.5 %.
    assert np.sort(spectrum.ravel())[-spectrum.size // 200 :].sum() > 0.9 * spectrum.sum()


def test_lattices_are_neither_too_fine_nor_too_skewed():
    for seed in range(50):
        first, second = random_lattice(np.random.default_rng(seed))
        lengths = np.linalg.norm([first, second], axis=1)
        assert (lengths >= 1 / 60 - 1e-9).all()
        assert (lengths <= 1 / 5 + 1e-9).all()
        assert abs(first @ second) <= np.cos(np.deg2rad(59.9)) * lengths.prod()


def test_light_changes_slowly_and_keeps_the_pattern():
    rng = np.random.default_rng(0)
    gray = np.full((SIZE, SIZE, 3), 128, np.uint8)
    shaded = lit(rng, gray).astype(float)
    assert shaded.std() > 2
    assert np.abs(np.diff(shaded, axis=0)).mean() < 0.1 * shaded.std()


def test_surfaces_repeat_are_plain_or_of_the_bank():
    bank = [np.full((SIZE, SIZE, 3), value, np.uint8) for value in (10, 240)]
    surfaces = [surface for seed in range(20) for surface in regular_surfaces(np.random.default_rng(seed), bank)]
    assert all(surface.shape == (SIZE, SIZE, 3) and surface.dtype == np.uint8 for surface in surfaces)
    contrast = np.array([np.abs(np.diff(surface.astype(float), axis=1)).mean() for surface in surfaces])
    assert 0.3 < (contrast > 1.5).mean() < 0.8
    assert 0.1 < (contrast < 0.3).mean() < 0.5


def test_a_share_of_the_scenes_is_regular_and_the_hard_ones_stay_as_they_are():
    hard, both = Synthetic(**SMALL, hard=0.4), Synthetic(**SMALL, hard=0.4, regular=0.4)
    easy = Synthetic(**SMALL)
    for dataset in (hard, both):
        dataset.__dict__["bank"] = easy.bank
    regular = 0
    for index in range(12):
        before, after = hard[index].image1, both[index].image1
        if not np.array_equal(before, after):
            regular += 1
            assert np.array_equal(before, easy[index].image1)  # only easy scenes became regular
    assert 2 <= regular <= 9


def test_shares_of_more_than_all_scenes_are_said():
    with pytest.raises(InputError, match=r"0\.6 and 0\.5, are more than"):
        Synthetic(hard=0.6, regular=0.5)
