"""An open shutter blurs along the path of what moves, around its middle, and compression keeps what the frame shows."""

import cv2
import numpy as np
import pytest

from mdflow.data.scenes.motion import PlaneMotion
from mdflow.data.scenes.recording import compress, open_shutter
from mdflow.data.scenes.scene import Layer, View, view
from mdflow.data.scenes.textures import to_uint8

SIZE = (48, 96)


def edge(velocity: float) -> list[Layer]:
    """A vertical edge, black to white, that crosses x = 48 at time 1."""
    texture = np.zeros((200, 400, 4), np.uint8)
    texture[:, 200:, :3] = 255
    texture[..., 3] = 255
    motion = PlaneMotion(
        center=np.array([48.0 - velocity, 24.0]),
        anchor=np.array([199.5, 100.0]),
        velocity=np.array([velocity, 0.0]),
        acceleration=np.zeros(2),
    )
    return [Layer(texture, motion, endless=True)]


def middle_row(layers: list[Layer], shutter: float) -> np.ndarray:
    shown: View = view(layers, 1, *SIZE)
    return open_shutter(layers, shown, shutter)[24, :, 0]


@pytest.mark.parametrize("velocity", [12.0, -12.0, 30.0])
def test_an_edge_becomes_a_ramp_as_long_as_its_path_around_its_place_in_the_middle(velocity):
    row = middle_row(edge(velocity), 0.5)
    length = 0.5 * abs(velocity)
    ramp = np.clip((np.arange(96) - 48) / length + 0.5, 0, 1) * 255
    assert np.abs(row - ramp).max() < 255 * 2 / length  # the ramp's steps
    assert row.sum() == pytest.approx(ramp.sum(), rel=0.01)


def test_what_stands_still_stays_sharp():
    layers = edge(0.0)
    assert np.array_equal(open_shutter(layers, view(layers, 1, *SIZE), 0.7), view(layers, 1, *SIZE).image)


def test_a_shorter_exposure_blurs_less():
    layers = edge(16.0)
    sharp = view(layers, 1, *SIZE).image[24, :, 0]
    change = [np.abs(middle_row(layers, shutter) - sharp).sum() for shutter in (0.1, 0.3, 0.6)]
    assert change[0] < 0.5 * change[1] < 0.5 * change[2]


def test_compression_loses_more_at_a_lower_quality_and_keeps_colours():
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.normal(128, 300, (64, 80, 3)), (0, 0), 3)
    frame = to_uint8(noise + np.array([60, 0, -60]))
    errors = []
    for quality in (90, 30):
        made = compress(frame, quality)
        assert (made.shape, made.dtype) == (frame.shape, np.uint8)
        assert np.abs(made.mean((0, 1)) - frame.mean((0, 1))).max() < 2
        errors.append(np.abs(made.astype(float) - frame).mean())
    assert 0 < errors[0] < 0.6 * errors[1]


def test_pixels_are_rounded_and_clipped():
    assert to_uint8(np.array([-3.0, 1.6, 254.5, 300.0])).tolist() == [0, 2, 254, 255]
