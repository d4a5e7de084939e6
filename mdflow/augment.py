"""Geometric augmentation and the eraser: drawn once, applied to images, flow and masks alike."""

import math
from dataclasses import dataclass

import torch
from kornia.geometry.transform import get_affine_matrix2d
from torch import Tensor

from mdflow.config import AugmentConfig
from mdflow.geometry import coordinate_grid, sample
from mdflow.system import ranks

Size = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """One drawn augmentation of a batch.

    to_source1, to_source2: (B,3,3) from the pixels of the augmented crop to those of the frame it is cut
    from, for either frame; crop: the size (height, width) of the result.
    """

    to_source1: Tensor
    to_source2: Tensor
    crop: Size

    def image1(self, image: Tensor) -> Tensor:
        """Frame 1 (B,C,H,W), or anything on its grid that is no flow, in the crop; its border goes on outside."""
        return sample(image, self.points(self.to_source1), padding="border")

    def image2(self, image: Tensor) -> Tensor:
        """Frame 2 in the crop."""
        return sample(image, self.points(self.to_source2), padding="border")

    def mask1(self, mask: Tensor) -> Tensor:
        """A mask (B,1,H,W) of frame 1 in the crop; 0 wherever one of the pixels it comes from is 0 or outside.

        Masks of weights too: where all of these pixels count, the weight between them.
        """
        solid, weight = sample(torch.cat([mask > 0, mask], dim=1).float(), self.points(self.to_source1)).split(1, 1)
        return torch.where(solid > 0.999, weight / solid, 0)

    def flow12(self, flow: Tensor) -> Tensor:
        """Flow 12 (B,2,H,W) in the crop, in its pixels: where x goes, seen by the second frame's transform."""
        source1 = self.points(self.to_source1)
        source2 = source1 + sample(flow, source1, padding="border")
        target = transform(torch.linalg.inv(self.to_source2), source2)
        return target - coordinate_grid(*self.crop, flow.device)

    def backwards(self) -> "Geometry":
        """The same augmentation for the pair played backwards."""
        return Geometry(self.to_source2, self.to_source1, self.crop)

    def points(self, matrix: Tensor) -> Tensor:
        """Where the crop's pixels lie in the frame, (B,2,h,w)."""
        grid = coordinate_grid(*self.crop, matrix.device).expand(len(matrix), -1, -1, -1)
        return transform(matrix, grid)


def transform(matrix: Tensor, points: Tensor) -> Tensor:
    """Points (B,2,h,w) through affine matrices (B,3,3)."""
    with torch.autocast(points.device.type, enabled=False):  # 8 bits are too few for a coordinate
        moved = torch.einsum("bij,bjhw->bihw", matrix[:, :2, :2], points)
    return moved + matrix[:, :2, 2, None, None]


@torch.autocast("cpu", enabled=False)
def draw_geometry(count: int, frame: Size, config: AugmentConfig, device: torch.device) -> Geometry:
    """A random augmentation for `count` pairs of size `frame`, from torch's generator.

    The crop is never larger than the frame before rotation; what rotation brings in from outside is
    masked by `mask1`. Of several ranks each draws for all of them and takes its own: as one process would.
    """
    count = count * ranks.count()
    crop = crop_inside(frame, config)
    size, full = torch.tensor([crop[1], crop[0]]).float(), torch.tensor([frame[1], frame[0]]).float()
    zoom = 2 ** uniform(count, *config.zoom)
    stretch = 2 ** (uniform(count, -config.stretch, config.stretch) / 2)
    magnify = torch.stack([zoom * stretch, zoom / stretch], dim=1).maximum(size / full)
    flips = torch.stack([flip_signs(count, config.flip_horizontal), flip_signs(count, config.flip_vertical)], dim=1)
    free = (full - size / magnify) / 2
    center = (full - 1) / 2 + (2 * torch.rand(count, 2) - 1) * free
    angle = uniform(count, -config.rotation, config.rotation)
    to_source1 = source_matrix(center, 1 / magnify, angle, size) @ flip_matrix(flips, size)
    shift = config.relative * (2 * torch.rand(count, 2) - 1)
    wobble = config.relative / max(crop)
    to_source2 = source_matrix(
        center + shift,
        2 ** uniform(count, -wobble, wobble)[:, None] / magnify,
        angle + uniform(count, -math.degrees(wobble), math.degrees(wobble)),
        size,
    ) @ flip_matrix(flips, size)
    return Geometry(ranks.own(to_source1).to(device), ranks.own(to_source2).to(device), crop)


@dataclass(frozen=True)
class Window:
    """A part of each item of a batch, at whole pixels: corners are the first pixels (x, y), size (height, width)."""

    corners: list[tuple[int, int]]
    size: Size

    def cut(self, maps: Tensor) -> Tensor:
        """The parts of maps (B,C,H,W), (B,C,h,w); of flows too, which it leaves as they are."""
        height, width = self.size
        if maps.shape[-2:] == self.size:
            return maps
        parts = [one[:, y : y + height, x : x + width] for one, (x, y) in zip(maps, self.corners, strict=True)]
        return torch.stack(parts)


def draw_window(maps: Tensor, config: AugmentConfig) -> Window:
    """A random crop of maps (B,C,H,W) at whole pixels and nothing else; drawn for all ranks, as `draw_geometry`."""
    count, frame = len(maps) * ranks.count(), maps.shape[-2:]
    crop = crop_inside(frame, config)
    x, y = (torch.randint(frame[side] - crop[side] + 1, (count,)) for side in (1, 0))
    return Window([tuple(corner) for corner in ranks.own(torch.stack([x, y], dim=1)).tolist()], crop)


def crop_inside(frame: Size, config: AugmentConfig) -> Size:
    """The size of crops, no larger than the frame."""
    return min(config.crop[0], frame[0]), min(config.crop[1], frame[1])


def source_matrix(center: Tensor, scale: Tensor, angle: Tensor, size: Tensor) -> Tensor:
    """(B,3,3) that takes the middle of a crop of `size` (width, height) to `center`, scaled and rotated."""
    middle = ((size - 1) / 2).expand(len(center), 2)
    return get_affine_matrix2d(center - middle, middle, scale, angle)


def flip_matrix(signs: Tensor, size: Tensor) -> Tensor:
    """(B,3,3) that mirrors a crop of `size` (width, height) where a sign is −1."""
    matrix = torch.diag_embed(torch.cat([signs, torch.ones(len(signs), 1)], dim=1))
    matrix[:, :2, 2] = (1 - signs) / 2 * (size - 1)
    return matrix


def erase(image2: Tensor, config: AugmentConfig) -> Tensor:
    """Image 2 (B,3,H,W) with up to three boxes of its mean colour (SMURF)."""
    batch, _, height, width = image2.shape
    kept = torch.ones(batch * ranks.count(), 1, height, width)
    for index in range(len(kept)):
        if torch.rand(()) >= config.eraser:
            continue
        for _ in range(int(torch.randint(1, 4, ()))):
            tall, wide = (int(side) for side in uniform(2, *config.eraser_size))
            top, left = int(torch.randint(height, ())), int(torch.randint(width, ()))
            kept[
                index,
                :,
                max(top - tall // 2, 0) : top + tall // 2,
                max(left - wide // 2, 0) : left + wide // 2,
            ] = 0
    kept = ranks.own(kept).to(image2.device)
    mean = image2.mean(dim=(2, 3), keepdim=True)
    return image2 * kept + mean * (1 - kept)


def uniform(count: int, low: float, high: float) -> Tensor:
    """`count` numbers between low and high."""
    return low + (high - low) * torch.rand(count)


def flip_signs(count: int, probability: float) -> Tensor:
    """−1 with the probability, else 1."""
    return 1 - 2 * (torch.rand(count) < probability).float()
