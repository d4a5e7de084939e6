import numpy as np
import pytest

from mdflow.errors import InputError
from mdflow.visualize import error_image, flow_to_colour, occlusion_image, panel, typical_speed


def colour_of(x: float, y: float, largest: float = 1.0) -> list[int]:
    return flow_to_colour(np.array([[[x, y]]], np.float32), largest)[0, 0].tolist()


def test_standing_still_is_white():
    assert colour_of(0, 0) == [255, 255, 255]


def test_directions_have_the_wheels_hues():
    # Right is red, down yellow, left blue-green, up violet, as in Baker et al.'s figure.
    assert colour_of(1, 0) == [255, 0, 0]
    left, down, up = colour_of(-1, 0), colour_of(0, 1), colour_of(0, -1)
    assert left[0] == 0
    assert left[2] == 255
    assert down[:2] == [255, 234]
    assert down[2] == 0
    assert up[2] == 255
    assert up[1] == 0


def test_colour_is_continuous_where_the_angle_jumps():
    above, below = np.array(colour_of(1, 1e-3)), np.array(colour_of(1, -1e-3))
    assert np.abs(above - below).max() <= 2


def test_slow_is_pale_and_the_fastest_have_full_colour():
    assert colour_of(0.5, 0) == [255, 128, 128]
    assert colour_of(1, 0) == colour_of(2, 0) == [255, 0, 0]


def test_unknown_flow_is_black():
    flow = np.ones((1, 3, 2), np.float32)
    flow[0, 0, 0] = np.nan
    picture = flow_to_colour(flow, valid=np.array([[True, False, True]]))
    assert picture[0, :2].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert picture[0, 2].any()


def test_typical_speed_ignores_outliers_and_nan():
    flow = np.ones((100, 100, 2), np.float32)
    flow[0, 0] = 1000
    flow[0, 1] = np.nan
    assert typical_speed(flow) == pytest.approx(2**0.5)


@pytest.mark.parametrize("speed", [0, 0.3, np.nan])
def test_what_hardly_moves_is_not_made_colourful(speed):
    assert typical_speed(np.full((10, 10, 2), speed, np.float32)) == 1


def test_occluded_is_white_and_error_grows_bright():
    assert occlusion_image(np.array([[1.0, 0.0]]))[0].tolist() == [[0, 0, 0], [255, 255, 255]]
    picture = error_image(np.array([[0.0, 4.0, 50.0, np.nan]]), largest=10).astype(int)[0]
    assert picture[0].sum() < picture[1].sum() < picture[2].sum() == 765
    assert picture[3].tolist() == [128, 128, 128]


def test_panel_puts_every_picture_in_its_cell():
    red = np.full((20, 30, 3), (255, 0, 0), np.uint8)
    gray = np.full((40, 60), 7, np.uint8)
    picture = panel([[red, gray], [gray]])
    assert picture.shape == (42, 62, 3)
    assert (picture[:20, :30] == (255, 0, 0)).all()
    assert (picture[:20, 32:] == 7).all()
    assert (picture[22:, :30] == 7).all()
    assert (picture[22:, 32:] == 255).all()


def test_panel_writes_labels_above_the_pictures():
    black = np.zeros((20, 80, 3), np.uint8)
    picture = panel([[black, black]], [["frame 1"]])
    caption, cells = picture[:16], picture[16:]
    assert (caption[:, :80] < 128).any()
    assert (caption[:, 82:] == 255).all()
    assert (cells[:, :80] == 0).all()


def test_panel_without_pictures_is_refused():
    with pytest.raises(InputError, match="at least one"):
        panel([])


@pytest.mark.parametrize("width", [40, 96, 1200])
def test_a_caption_fits_above_its_picture(width):
    text = "flow 1 to 2, full colour 12.5 px"
    drawn = panel([[np.full((100, width, 3), 255, np.uint8)]], [[text]])
    caption = (drawn[: len(drawn) - 100] < 128).any((0, 2)).nonzero()[0]
    assert 0.3 * min(width, 400) < caption[-1] < width - 1
