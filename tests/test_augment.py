import pytest
import torch
import torch.nn.functional as F
from pictures import constant_flow, texture

from mdflow.augment import draw_geometry, draw_window, erase
from mdflow.config import AugmentConfig
from mdflow.geometry import warp

FRAME, CROP, CPU = (72, 96), (48, 64), torch.device("cpu")
PLAIN = {
    "crop": CROP,
    "flip_horizontal": 0,
    "flip_vertical": 0,
    "zoom": (0, 0),
    "stretch": 0,
    "rotation": 0,
    "relative": 0,
}
KINDS = {
    "nothing": {},
    "flips": {"flip_horizontal": 0.5, "flip_vertical": 0.5},
    "zoom": {"zoom": (-0.3, 0.8)},
    "stretch": {"stretch": 0.3},
    "rotation": {"rotation": 30},
    "relative": {"relative": 4},
    "everything": {
        "flip_horizontal": 0.5,
        "flip_vertical": 0.5,
        "zoom": (-0.3, 0.8),
        "stretch": 0.3,
        "rotation": 30,
        "relative": 4,
    },
}


def plain(**changes) -> AugmentConfig:
    return AugmentConfig(**(PLAIN | changes))


def smooth(height: int, width: int, seed: int = 0, batch: int = 4) -> torch.Tensor:
    """An image that interpolation hardly changes."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(batch, 3, height // 12, width // 12, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)


def moving_pair() -> tuple[torch.Tensor, ...]:
    """(image1, image2, flow12, mask) of a smooth flow that differs from pixel to pixel."""
    image2 = smooth(*FRAME)
    flow12 = 8 * smooth(*FRAME, seed=1)[:, :2] - 3
    image1 = warp(image2, flow12, padding="border")
    mask = torch.ones(4, 1, *FRAME)
    mask[..., :10, :10] = 0
    return image1, image2, flow12, mask


def draw(config: AugmentConfig, seed: int = 0, count: int = 4):
    torch.manual_seed(seed)
    return draw_geometry(count, FRAME, config, CPU)


def border_is_known(mask: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """Where the crop shows the frame, and the flow ends inside the crop."""
    seen2 = warp(torch.ones_like(mask), flow) > 0.999
    return (mask > 0) & seen2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_warping_the_augmented_frame_2_gives_the_augmented_frame_1(kind, seed):
    image1, image2, flow12, mask = moving_pair()
    geometry = draw(plain(**KINDS[kind]), seed)
    found = geometry.flow12(flow12)
    assert found.shape == (4, 2, *CROP)
    known = border_is_known(geometry.mask1(mask), found)
    assert known.float().mean() > 0.4
    # What of frame 2 lies outside the frame is unknown too.
    known &= warp(sample_mask2(geometry), found) > 0.999
    error = (warp(geometry.image2(image2), found) - geometry.image1(image1)).abs().amax(1, keepdim=True)
    assert error[known].max() < 0.04
    assert error[known].mean() < 0.004
    still = (geometry.image2(image2) - geometry.image1(image1)).abs().amax(1, keepdim=True)
    assert still[known].mean() > 5 * error[known].mean()


def sample_mask2(geometry) -> torch.Tensor:
    """Where the augmented frame 2 shows something of the frame."""
    return geometry.backwards().mask1(torch.ones(4, 1, *FRAME))


@pytest.mark.parametrize("kind", ["flips", "everything"])
def test_backwards_is_the_same_augmentation_of_the_pair_played_backwards(kind):
    """The way there and back again ends where it began."""
    flow12 = constant_flow(3, -2, *FRAME, batch=4)
    geometry = draw(plain(**KINDS[kind]))
    back = geometry.backwards()
    image = smooth(*FRAME)
    assert torch.equal(back.image1(image), geometry.image2(image))
    assert torch.equal(back.image2(image), geometry.image1(image))
    there, again = geometry.flow12(flow12), back.flow12(-flow12)
    known = border_is_known(geometry.mask1(torch.ones(4, 1, *FRAME)), there).expand_as(there)
    assert ((there + warp(again, there)).abs()[known] < 1e-2).all()


def test_a_mirrored_flow_points_the_other_way():
    flow = constant_flow(3, -2, *FRAME, batch=4)
    both = draw(plain(flip_horizontal=1, flip_vertical=1, crop=FRAME))
    assert torch.allclose(both.flow12(flow), -flow, atol=1e-4)
    image = texture(*FRAME, batch=4)
    assert torch.allclose(both.image1(image), image.flip(2, 3), atol=1e-4)


def test_a_zoomed_flow_grows():
    found = draw(plain(zoom=(1, 1))).flow12(constant_flow(3, -2, *FRAME, batch=4))
    assert torch.allclose(found, constant_flow(6, -4, *CROP, batch=4), atol=1e-4)


def test_a_stretch_makes_one_axis_longer_and_the_other_shorter():
    geometry = draw(plain(stretch=0.5, crop=(24, 32)), count=400)
    across, down = geometry.to_source1.diagonal(dim1=1, dim2=2)[:, :2].unbind(1)
    torch.testing.assert_close(across * down, torch.ones(400))
    ratio = torch.log2(across / down)
    assert -0.5 <= ratio.min() < -0.4 and 0.4 < ratio.max() <= 0.5


def test_a_relative_shift_moves_frame_2_and_the_flow_alone():
    image = smooth(*FRAME)
    geometry = draw(plain(relative=5))
    flow = geometry.flow12(torch.zeros(4, 2, *FRAME))
    assert flow.abs().mean() > 0.5
    known = border_is_known(torch.ones(4, 1, *CROP), flow)
    error = (warp(geometry.image2(image), flow) - geometry.image1(image)).abs().amax(1, keepdim=True)
    assert error[known].max() < 0.04


def test_a_relative_motion_goes_either_way_and_turns_and_grows_a_little():
    geometry = draw(plain(relative=6), count=400)
    middle = torch.tensor([31.5, 23.5, 1.0])
    shift = (geometry.to_source2 @ middle - geometry.to_source1 @ middle)[:, :2]
    assert -6.01 < shift.min() < -5 and 5 < shift.max() < 6.01
    linear = geometry.to_source2[:, :2, :2]
    assert torch.linalg.det(linear).std() > 0.01
    angle = torch.atan2(linear[:, 1, 0], linear[:, 0, 0])
    assert angle.min() < -0.05 and angle.max() > 0.05


def test_masks_stay_zero_or_one_and_know_what_rotation_brings_in():
    geometry = draw(plain(rotation=45, crop=FRAME))
    mask = geometry.mask1(torch.ones(4, 1, *FRAME))
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    inside = geometry.points(geometry.to_source1)
    x, y = inside[:, :1], inside[:, 1:]
    far_in = (x > 0.01) & (y > 0.01) & (x < FRAME[1] - 1.01) & (y < FRAME[0] - 1.01)
    far_out = (x < -0.01) | (y < -0.01) | (x > FRAME[1] - 0.99) | (y > FRAME[0] - 0.99)
    assert (mask[far_in] == 1).all()
    assert (mask[far_out] == 0).all()


@pytest.mark.parametrize("crop", [CROP, FRAME, (500, 500)])
def test_crops_without_rotation_lie_in_the_frame(crop):
    geometry = draw(plain(crop=crop, **{key: KINDS["everything"][key] for key in ("zoom", "stretch")}))
    assert geometry.crop == (min(crop[0], FRAME[0]), min(crop[1], FRAME[1]))
    points = geometry.points(geometry.to_source1)
    for axis, length in ((0, FRAME[1]), (1, FRAME[0])):
        assert points[:, axis].min() >= -0.51
        assert points[:, axis].max() <= length - 0.49


def test_crops_lie_anywhere_in_the_frame():
    x, y = draw(plain(), count=400).to_source1[:, :2, 2].unbind(1)
    for place, free in ((x, FRAME[1] - CROP[1]), (y, FRAME[0] - CROP[0])):
        assert place.min() < 0.1 * free and place.max() > 0.9 * free
        assert float(place.mean()) == pytest.approx(free / 2, rel=0.1)


def test_a_window_keeps_every_pixel_as_it_is():
    frame = (65, 129)
    image = texture(*frame, batch=6)
    torch.manual_seed(3)
    window = draw_window(image, plain())
    assert len(set(window.corners)) > 3
    for index, (x, y) in enumerate(window.corners):
        assert torch.equal(window.cut(image)[index], image[index, :, y : y + CROP[0], x : x + CROP[1]])


def test_windows_lie_anywhere_in_the_frame_and_are_no_larger():
    x, y = torch.tensor(draw_window(torch.empty(400, 1, *FRAME), plain()).corners).unbind(1)
    for place, free in ((x, FRAME[1] - CROP[1]), (y, FRAME[0] - CROP[0])):
        assert place.min() == 0 and place.max() == free
    small = texture(20, 30, batch=2)
    assert torch.equal(draw_window(small, plain()).cut(small), small)


def test_each_pair_gets_its_own_draw_and_the_same_seed_the_same():
    config = AugmentConfig(crop=CROP)
    first, again, other = draw(config, 1), draw(config, 1), draw(config, 2)
    assert torch.equal(first.to_source1, again.to_source1)
    assert torch.equal(first.to_source2, again.to_source2)
    assert not torch.equal(first.to_source1, other.to_source1)
    assert not torch.equal(first.to_source1[0], first.to_source1[1])


def test_the_eraser_takes_boxes_of_mean_colour_and_leaves_the_rest():
    torch.manual_seed(0)
    image = texture(*FRAME, batch=8)
    before = image.clone()
    erased = erase(image, AugmentConfig(eraser=1, eraser_size=(10, 16)))
    assert torch.equal(image, before)
    gone = (erased != image).any(1, keepdim=True)
    mean = image.mean((2, 3), keepdim=True)
    assert torch.allclose(erased, torch.where(gone, mean, image))
    area = gone.sum((1, 2, 3))
    assert (area > 0).all()
    assert (area <= 3 * 16 * 16).all()


def test_up_to_three_boxes_are_taken_out_anywhere():
    """Boxes of 2×2 pixels hardly ever overlap in a frame of 16×128."""
    torch.manual_seed(0)
    image = texture(16, 128, batch=300)
    gone = (erase(image, AugmentConfig(eraser=1, eraser_size=(2, 2.9))) != image).any(1)
    boxes = gone.flatten(1).sum(1) / 4
    assert [bool(((boxes > count - 0.6) & (boxes <= count)).any()) for count in (1, 2, 3)] == [True] * 3
    assert boxes.max() == 3
    assert gone.any(0)[8:].any(1).all() and gone.any((0, 1))[-16:].any()


def test_the_eraser_strikes_as_often_as_asked():
    torch.manual_seed(0)
    image = texture(16, 16, batch=200)
    assert torch.equal(erase(image, AugmentConfig(eraser=0)), image)
    erased = erase(image, AugmentConfig(eraser=0.3, eraser_size=(4, 6)))
    assert 0.2 < (erased != image).flatten(1).any(1).float().mean() < 0.4


def test_mixed_precision_does_not_round_coordinates():
    """Under autocast a matrix product has 8 bits: a pixel of a frame of 1000 would move by several."""
    config, frame = AugmentConfig(crop=(8, 600), relative=2), (64, 1000)
    flow = constant_flow(3, 1, *frame)
    found = []
    for mixed in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            geometry = draw_geometry(1, frame, config, CPU)
            found.append((geometry.to_source2, geometry.points(geometry.to_source1), geometry.flow12(flow)))
    for exact, rounded in zip(*found, strict=True):
        assert torch.allclose(exact, rounded, atol=1e-3)


def test_weights_travel_like_a_picture_where_they_count():
    torch.manual_seed(3)
    geometry = draw_geometry(4, FRAME, plain(rotation=30, zoom=(-0.3, 0.8)), CPU)
    weight = smooth(*FRAME)[:, :1].clamp(0.05, 1)
    whole = geometry.mask1(torch.ones_like(weight)).bool()
    assert 0.3 < whole.float().mean() < 1
    found = geometry.mask1(weight)
    assert torch.allclose(found[whole], geometry.image1(weight)[whole], atol=1e-3)
    assert not found[~whole].any()
    assert set(geometry.mask1((weight > 0.3).float()).unique().tolist()) == {0.0, 1.0}
