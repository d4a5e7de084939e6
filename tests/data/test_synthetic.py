"""The synthetic set is exact: flow, occlusion and frames of one scene agree."""

import functools
import itertools
import pickle
from dataclasses import fields

import cv2
import numpy as np
import pytest
import torch

from mdflow.data import synthetic
from mdflow.data.io import write_image
from mdflow.data.scenes.hardness import plain_texture, tiled_texture, with_shadows
from mdflow.data.scenes.scene import flow_to, view
from mdflow.data.scenes.scenery import camera_scene, layered_scene
from mdflow.data.scenes.textures import make_textures
from mdflow.data.synthetic import Synthetic
from mdflow.errors import InputError
from mdflow.geometry import warp

SIZE = (64, 80)


def small(**changes) -> Synthetic:
    settings = {"length": 6, "size": SIZE, "motion": (1.0, 5.0), "texture_count": 4, "seed": 1}
    dataset = Synthetic(**(settings | changes))
    if dataset.seed == 1 and "texture_count" not in changes and "textures" not in changes:
        dataset.__dict__["bank"] = textures()
    return dataset


@functools.cache
def textures() -> list[np.ndarray]:
    """The bank of seed 1, made once for all tests."""
    return make_textures(4, 1)


def planes(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32)).reshape(*array.shape[:2], -1).permute(2, 0, 1)[None]


def same(one, other) -> bool:
    values = ((getattr(one, field.name), getattr(other, field.name)) for field in fields(one))
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in values)


def away_from_edges(flow: np.ndarray) -> np.ndarray:
    """Pixels whose neighbours move alike: bilinear values do not mix two surfaces there."""
    smooth = np.ones(flow.shape[:2], bool)
    for axis in (0, 1):
        for step in (-2, -1, 1, 2):
            smooth &= np.abs(np.roll(flow, step, axis) - flow).max(-1) < 0.5 * abs(step)
    smooth[:2], smooth[-2:], smooth[:, :2], smooth[:, -2:] = False, False, False, False
    return smooth


def test_a_sample_has_everything_in_the_right_types():
    sample = small()[2]
    assert sample.name == "1/000002/0000"
    for image in (sample.image1, sample.image2):
        assert image.shape == (*SIZE, 3)
        assert image.dtype == np.uint8
        assert image.std() > 3
    for flow in (sample.flow12, sample.flow21):
        assert flow.shape == (*SIZE, 2)
        assert flow.dtype == np.float32
        assert np.isfinite(flow).all()
    for mask in (sample.valid1, sample.valid2, sample.visible1, sample.visible2):
        assert mask.shape == SIZE
        assert mask.dtype == bool


def test_a_seed_and_an_index_always_give_the_same_sample():
    assert same(small()[3], small()[3])
    assert same(small()[3], Synthetic(length=9, size=SIZE, motion=(1.0, 5.0), texture_count=4, seed=1)[3])
    assert not np.array_equal(small()[3].image1, small()[4].image1)
    other = small(seed=2)
    other.__dict__["bank"] = textures()
    assert not np.array_equal(small()[3].flow12, other[3].flow12)


def test_indices_end_with_the_set():
    assert len(small(length=3)) == 3
    for index in (-1, 3):
        with pytest.raises(IndexError):
            small(length=3)[index]


@pytest.mark.parametrize("camera", [0.0, 1.0], ids=["layers", "camera"])
def test_flows_there_and_back_cancel_where_both_frames_see_a_point(camera):
    dataset = small(camera=camera)
    for sample in (dataset[index] for index in range(4)):
        for there, back, visible in (
            (sample.flow12, sample.flow21, sample.visible1),
            (sample.flow21, sample.flow12, sample.visible2),
        ):
            sure = visible & away_from_edges(there)
            # The way back must be read among neighbours that move alike, too.
            alike = warp(planes(away_from_edges(back)), planes(there))[0, 0].numpy() > 0.999
            assert (sure & alike).mean() > 0.1
            returned = there + warp(planes(back), planes(there))[0].permute(1, 2, 0).numpy()
            length = np.linalg.norm(returned, axis=-1)[sure & alike]
            assert np.percentile(length, 99) < 0.1
            assert length.max() < 0.5


@pytest.mark.parametrize("camera", [0.0, 1.0], ids=["layers", "camera"])
def test_warping_frame_2_gives_frame_1_where_both_see_it(camera):
    dataset = small(camera=camera, appearance=False)
    for sample in (dataset[index] for index in range(4)):
        sure = sample.visible1 & away_from_edges(sample.flow12)
        found = warp(planes(sample.image2), planes(sample.flow12))[0].permute(1, 2, 0).numpy()
        error = np.abs(found - sample.image1)[sure].mean()
        unmoved = np.abs(sample.image2.astype(float) - sample.image1)[sure].mean()
        # What is left is texture finer than a pixel, which bilinear sampling blurs.
        assert error < 0.6 * unmoved
        shifted = warp(planes(sample.image2), planes(sample.flow12 + np.float32([1, 0])))[0].permute(1, 2, 0).numpy()
        assert error < np.abs(shifted - sample.image1)[sure].mean()


@pytest.mark.parametrize("camera", [0.0, 1.0], ids=["layers", "camera"])
def test_what_leaves_or_is_covered_is_not_visible(camera):
    dataset = small(camera=camera)
    hidden = 0
    for sample in (dataset[index] for index in range(4)):
        y, x = np.mgrid[: SIZE[0], : SIZE[1]]
        x, y = x + sample.flow12[..., 0], y + sample.flow12[..., 1]
        left = (x < 0) | (y < 0) | (x > SIZE[1] - 1) | (y > SIZE[0] - 1)
        assert not sample.visible1[left].any()
        # A pixel that is not visible but stays inside ends where another surface is, with another way back.
        covered = ~sample.visible1 & ~left
        hidden += covered.sum()
        assert sample.visible1.mean() > 0.3
    assert hidden > 10


def test_pixels_without_a_place_in_the_other_frame_are_unknown(monkeypatch):
    def torn(layers, shown, time):
        flow = flow_to(layers, shown, time)
        flow[:10] = np.nan
        return flow

    monkeypatch.setattr("mdflow.data.synthetic.flow_to", torn)
    sample = small()[1]
    for flow, valid, visible in (
        (sample.flow12, sample.valid1, sample.visible1),
        (sample.flow21, sample.valid2, sample.visible2),
    ):
        assert not valid[:10].any()
        assert valid[10:].all()
        assert not visible[:10].any()
        assert np.isfinite(flow).all()


@pytest.mark.parametrize("filmed", [0.0, 1.0])
def test_sequences_share_their_frames(filmed):
    dataset = small(length=2, frames=5, filmed=filmed)
    assert len(dataset) == 2 * 4
    pairs = [dataset[index] for index in range(4)]
    for before, after in itertools.pairwise(pairs):
        assert np.array_equal(before.image2, after.image1)
    assert not np.array_equal(dataset[3].image2, dataset[4].image1)
    assert [pair.name for pair in pairs] == [f"1/000000/{time:04d}" for time in range(4)]


def test_a_longer_sequence_begins_as_a_shorter_one():
    assert same(small(frames=2)[1], small(frames=4)[3])


def test_the_motion_range_sets_how_far_things_move():
    def mean_motion(low: float, high: float) -> float:
        dataset = small(motion=(low, high))
        return float(np.mean([np.linalg.norm(dataset[index].flow12, axis=-1).mean() for index in range(6)]))

    slow, medium, fast = mean_motion(0.5, 0.6), mean_motion(3, 4), mean_motion(15, 16)
    assert 0.1 < slow < 2
    assert 2 * slow < medium
    assert 2 * medium < fast


def test_appearance_changes_frames_and_nothing_else():
    plain, changed = small(appearance=False), small(appearance=True)
    different = 0
    for index in range(4):
        one, other = plain[index], changed[index]
        assert np.array_equal(one.flow12, other.flow12)
        assert np.array_equal(one.visible1, other.visible1)
        different += not np.array_equal(one.image1, other.image1)
    assert different >= 2


def test_a_share_of_the_scenes_is_filmed_with_the_same_flow():
    plain, film = small(length=12), small(length=12, filmed=0.5)
    different = 0
    for index in range(12):
        one, other = plain[index], film[index]
        assert np.array_equal(one.flow12, other.flow12)
        assert np.array_equal(one.visible1, other.visible1)
        different += not same(one, other)
    assert 2 <= different <= 10


def test_half_of_the_filmed_scenes_are_compressed():
    dataset = Synthetic(length=40, size=(16, 16), filmed=1.0, texture_count=4)
    dataset.__dict__["bank"] = textures()
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "compress", lambda frame, quality: (seen.append(quality), frame)[1])
        for index in range(40):
            dataset[index]
    assert 2 * 10 <= len(seen) <= 2 * 30
    assert 30 <= min(seen) < max(seen) < 95


def test_it_travels_to_workers_without_its_textures():
    dataset = small()
    expected = dataset[1]
    content = pickle.dumps(dataset)
    assert len(content) < 10_000
    assert same(pickle.loads(content)[1], expected)


def test_half_of_the_textures_come_from_a_folder(tmp_path):
    write_image(tmp_path / "red.png", np.full((40, 50, 3), (200, 10, 10), np.uint8))
    bank = make_textures(4, 0, tmp_path)
    assert all((np.abs(texture.astype(int) - [200, 10, 10]) <= 1).all() for texture in bank[::2])
    assert all(texture.std() > 3 for texture in bank[1::2])
    sample = small(textures=tmp_path, texture_count=2)[0]
    assert sample.image1.shape == (*SIZE, 3)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(InputError, match="No image in the texture folder"):
        make_textures(2, 0, tmp_path)


def test_textures_have_contrast_and_differ():
    bank = make_textures(4, 5)
    assert all(texture.shape == (512, 512, 3) and texture.dtype == np.uint8 for texture in bank)
    assert all(texture.std() > 5 for texture in bank)
    assert all(np.array_equal(one, other) for one, other in zip(bank, make_textures(4, 5), strict=True))
    assert not np.array_equal(bank[0], make_textures(1, 6)[0])


@pytest.mark.parametrize("make", [layered_scene, camera_scene])
def test_shadows_and_reflections_change_the_pictures_and_no_flow(make):
    changed = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        layers = make(rng, textures(), textures(), *SIZE, 4.0)
        shaded = with_shadows(rng, layers, textures(), *SIZE, 4.0)
        bare, darker = view(layers, 0.0, *SIZE), view(shaded, 0.0, *SIZE)
        assert np.array_equal(flow_to(layers, bare, 1.0), flow_to(shaded, darker, 1.0))
        changed.append((np.abs(bare.image - darker.image).max(-1) > 4).mean())
    assert np.mean(changed) > 0.02


def test_a_share_of_the_scenes_is_hard_and_the_others_stay_as_they_are():
    easy, mixed = small(length=12), small(length=12, hard=0.5)
    changed = [not np.array_equal(easy[index].image1, mixed[index].image1) for index in range(12)]
    assert 2 <= sum(changed) <= 10
    assert not any(same(small(hard=1.0)[index], easy[index]) for index in range(3))


def test_tiles_repeat_and_plain_surfaces_hardly_vary():
    for seed in range(4):
        rng = np.random.default_rng(seed)
        assert plain_texture(rng).std((0, 1)).max() < 20
        gray = tiled_texture(rng).mean(-1)
        gray -= cv2.GaussianBlur(gray, (0, 0), 20)
        spectrum = np.abs(np.fft.rfft2(gray)) ** 2
        # A pattern that repeats has its power in few frequencies: noise of this size would have 4 % in its top 0.5 %.
        assert np.sort(spectrum.ravel())[-len(spectrum.ravel()) // 200 :].sum() > 0.5 * spectrum.sum()


@pytest.mark.parametrize("motion", [(20, 1), (0, 5), (1, np.inf)])
def test_a_motion_that_is_no_range_is_said(motion):
    with pytest.raises(InputError, match=f"{motion[0]} to {motion[1]} px, is no range"):
        Synthetic(motion=motion)
