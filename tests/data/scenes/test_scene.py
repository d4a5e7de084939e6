"""One layer or two whose motion is written down here: what the frames, flows and masks must be."""

import numpy as np
import pytest

from mdflow.data.scenes.motion import Camera, PlaneMotion, SurfaceMotion
from mdflow.data.scenes.scene import (
    Layer,
    View,
    flow_to,
    frame_points,
    sample_texture,
    texture_points,
    view,
    visible_in,
)
from mdflow.data.scenes.scenery import random_bend

HEIGHT, WIDTH = 24, 32


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Opaque noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    noise[..., 3] = 255
    return noise


def slide(x: float, y: float, dx: float, dy: float) -> PlaneMotion:
    """Texture pixel (0,0) starts at (x, y) and moves by (dx, dy) a frame."""
    return PlaneMotion(np.array([x, y]), np.zeros(2), np.array([dx, dy]), np.zeros(2))


def grid() -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1).astype(np.float32)


def square_on_background() -> list[Layer]:
    """An 8×8 square at (10, 6) that moves by (5, 2) over a background that moves by (-1, 0)."""
    return [
        Layer(texture(40, 50), slide(-5, -5, -1, 0), endless=True),
        Layer(texture(8, 8, seed=1), slide(10, 6, 5, 2)),
    ]


def test_a_layer_at_whole_pixels_shows_its_texture():
    layers = square_on_background()
    for time, (x, y) in enumerate([(10, 6), (15, 8)]):
        shown = view(layers, time, HEIGHT, WIDTH)
        assert np.abs(shown.image[y : y + 8, x : x + 8] - layers[1].texture[..., :3]).max() < 0.02
        assert (shown.label[y : y + 8, x : x + 8] == 1).all()
        assert (shown.label == 1).sum() == 64
        expected = layers[0].texture[5:, 5 + time : 5 + time + WIDTH, :3]
        assert np.abs(shown.image[:5] - expected[:5]).max() < 0.02


def test_the_flow_is_that_of_the_topmost_layer():
    layers = square_on_background()
    first, second = view(layers, 0, HEIGHT, WIDTH), view(layers, 1, HEIGHT, WIDTH)
    expected = np.full((HEIGHT, WIDTH, 2), [-1, 0], np.float32)
    expected[6:14, 10:18] = [5, 2]
    assert np.abs(flow_to(layers, first, 1) - expected).max() < 1e-3
    expected = np.full((HEIGHT, WIDTH, 2), [1, 0], np.float32)
    expected[8:16, 15:23] = [-5, -2]
    assert np.abs(flow_to(layers, second, 0) - expected).max() < 1e-3


def test_what_is_covered_or_leaves_is_not_visible():
    layers = square_on_background()
    first, second = view(layers, 0, HEIGHT, WIDTH), view(layers, 1, HEIGHT, WIDTH)
    expected = np.ones((HEIGHT, WIDTH), bool)
    expected[:, 0] = False  # the background leaves to the left
    expected[8:16, 16:24] = False  # where the square comes to lie, seen from frame 1
    expected[6:14, 10:18] = True  # the square itself
    # Float coordinates at the very border may fall on either side.
    assert np.array_equal(visible_in(first, flow_to(layers, first, 1), second)[:-1, :-1], expected[:-1, :-1])


def test_the_nearest_pixel_says_whether_a_point_is_covered():
    here, there = (View(0, None, np.array([labels], np.int16), []) for labels in ([0, 0, 0, 0], [0, 1, 0, 0]))
    flow = np.zeros((1, 4, 2), np.float32)
    flow[..., 0] = 0.6
    assert visible_in(here, flow, there).tolist() == [[False, True, True, False]]


def test_a_hole_shows_what_is_behind():
    layers = square_on_background()
    layers[1].texture[2:6, 2:6, 3] = 0
    shown = view(layers, 0, HEIGHT, WIDTH)
    assert (shown.label[8:12, 12:16] == 0).all()
    assert np.abs(flow_to(layers, shown, 1)[9, 13] - [-1, 0]).max() < 1e-3


def test_an_endless_layer_covers_everything():
    layers = [Layer(texture(8, 8), slide(3, 3, 0, 0), endless=True)]
    layers[0].texture[..., :3] = 200
    assert (view(layers, 0, HEIGHT, WIDTH).image > 190).all()


def turning(bend: np.ndarray | None = None) -> Layer:
    """A layer that turns, grows and bends."""
    motion = PlaneMotion(
        center=np.array([16.0, 12.0]),
        anchor=np.array([20.0, 20.0]),
        velocity=np.array([1.5, -0.7]),
        acceleration=np.array([0.3, 0.2]),
        angle=0.4,
        turn=0.1,
        scale=0.9,
        zoom=0.05,
        squeeze=0.1,
    )
    return Layer(texture(40, 40), motion, bend, endless=True)


@pytest.mark.parametrize("time", [0, 1, 3])
@pytest.mark.parametrize("bent", [False, True], ids=["rigid", "bent"])
def test_texture_points_and_frame_points_are_inverse(time, bent):
    layer = turning(random_bend(np.random.default_rng(0), 40, 40, 8.0) if bent else None)
    points, front = texture_points(layer, time, grid())
    assert front.all()
    assert np.abs(frame_points(layer, time, points) - grid()).max() < 0.02


def test_a_bend_is_smooth_enough_to_be_undone_and_reaches_its_amplitude_when_that_is_small():
    bend = random_bend(np.random.default_rng(0), 40, 50, 100.0)
    assert bend.shape == (40, 50, 2)
    assert max(np.abs(np.diff(bend, axis=0)).max(), np.abs(np.diff(bend, axis=1)).max()) < 0.2
    assert 0.005 < random_bend(np.random.default_rng(0), 40, 50, 0.01).std() < 0.02


def test_a_bend_carries_a_layer_beyond_its_box():
    bend = np.zeros((8, 8, 2), np.float32)
    bend[..., 0] = 6
    layers = [
        Layer(texture(40, 50), slide(-5, -5, 0, 0), endless=True),
        Layer(texture(8, 8, seed=1), slide(10, 6, 0, 0), bend),
    ]
    label = view(layers, 1, HEIGHT, WIDTH).label
    assert (label[6:14, 16:24] == 1).all() and (label == 1).sum() == 64


def test_a_plane_motion_turns_and_grows_about_its_centre():
    matrix = turning().place(2)
    center = matrix @ [20, 20, 1]
    assert np.allclose(center, [16 + 3 + 0.6, 12 - 1.4 + 0.4, 1])
    assert np.linalg.det(matrix[:2, :2]) == pytest.approx((0.9 * np.exp(0.1)) ** 2)


def test_a_camera_that_drives_sees_a_wall_grow():
    """At depth Z, after a step of V: everything moves away from the principal point by 1/(Z − V)."""
    camera = Camera(30.0, np.array([16.0, 12.0]), np.array([0, 0, 1.0]), np.zeros(3))
    wall = SurfaceMotion(camera, np.array([-5, -5, 10.0]), np.array([0.1, 0, 0]), np.array([0, 0.1, 0]), np.zeros(3))
    layer = Layer(texture(100, 100), wall, endless=True)
    shown = view([layer], 0, HEIGHT, WIDTH)
    expected = (grid() - [16, 12]) * (10 / 9 - 1)
    assert np.abs(flow_to([layer], shown, 1) - expected).max() < 1e-3


def test_a_surface_moves_by_itself_too():
    """Half a metre a frame at 10 m, seen with a focal length of 30 px: 1.5 px to the right, 3 up."""
    camera = Camera(30.0, np.array([16.0, 12.0]), np.zeros(3), np.zeros(3))
    axes = np.array([0.1, 0, 0]), np.array([0, 0.1, 0])
    wall = SurfaceMotion(camera, np.array([-5, -5, 10.0]), *axes, np.array([0.5, -1.0, 0]))
    layer = Layer(texture(100, 100), wall, endless=True)
    assert np.abs(flow_to([layer], view([layer], 0, HEIGHT, WIDTH), 1) - [1.5, -3]).max() < 1e-3


def test_a_turning_camera_moves_everything_alike_whatever_its_depth():
    camera = Camera(200.0, np.array([16.0, 12.0]), np.zeros(3), np.array([0, 0.02, 0]))
    right, down = np.array([0.1, 0, 0]), np.array([0, 0.1, 0])
    flows = []
    for depth in (5.0, 50.0):
        surface = SurfaceMotion(camera, np.array([-5, -5, depth]), right, down, np.zeros(3))
        layer = Layer(texture(100, 100), surface, endless=True)
        flows.append(flow_to([layer], view([layer], 0, HEIGHT, WIDTH), 1))
    assert np.abs(flows[0] - flows[1]).max() < 1e-2
    assert flows[0][12, 16] == pytest.approx([200 * np.tan(0.02), 0], abs=1e-2)
    assert np.allclose(camera.rotation(3) @ camera.rotation(3).T, np.eye(3))


def test_what_lies_behind_the_camera_is_not_seen():
    camera = Camera(30.0, np.array([16.0, 12.0]), np.zeros(3), np.zeros(3))
    motion = SurfaceMotion(camera, np.array([-5, -5, -10.0]), np.array([0.1, 0, 0]), np.array([0, 0.1, 0]), np.zeros(3))
    layers = [Layer(texture(40, 50), slide(-5, -5, 0, 0), endless=True), Layer(texture(100, 100), motion)]
    assert (view(layers, 0, HEIGHT, WIDTH).label == 0).all()


def test_what_the_camera_drives_past_has_no_flow():
    """A floor 1 m below, seen from 0.5 m ahead on; after a step of 2 m the first 2 m of it lie behind."""
    camera = Camera(10.0, np.array([16.0, 0.0]), np.array([0, 0, 2.0]), np.zeros(3))
    floor = SurfaceMotion(camera, np.array([-50, 1, 0.5]), np.array([1.0, 0, 0]), np.array([0, 0, 0.1]), np.zeros(3))
    layers = [Layer(texture(40, 50), slide(-5, -5, 0, 0), endless=True), Layer(texture(400, 100), floor)]
    first, second = view(layers, 0, HEIGHT, WIDTH), view(layers, 1, HEIGHT, WIDTH)
    flow = flow_to(layers, first, 1)
    depth = np.array([10 / max(row, 0.2) for row in range(HEIGHT)])  # of the floor in a row: focal length / row
    passed = (depth < 2) & (first.label == 1).all(axis=1)
    assert 5 < passed.sum() < HEIGHT
    assert np.isnan(flow[passed]).all()
    assert np.isfinite(flow[depth > 2.01]).all()
    assert not visible_in(first, flow, second)[passed].any()


def test_a_texture_seen_from_afar_is_averaged():
    """Every eighth pixel of fine noise would be noise; the mean of its neighbourhood is gray."""
    layer = Layer(texture(256, 256), slide(0, 0, 0, 0), endless=True)
    near = sample_texture(layer, grid() + 20)
    far = sample_texture(layer, grid() * 8)
    assert near[..., :3].std() > 60
    assert far[..., :3].std() < 25


@pytest.mark.parametrize("step", [1, 2, 4, 8])
def test_a_texture_seen_from_afar_stays_in_its_place(step):
    ramp = np.full((256, 256, 4), 255, np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(256), np.arange(256)[:, None]
    points = grid()[:, :HEIGHT] * step + 24
    assert np.abs(sample_texture(Layer(ramp, slide(0, 0, 0, 0)), points)[..., :2] - points).max() < 0.6
