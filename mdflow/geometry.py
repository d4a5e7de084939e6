"""Where pixels go: coordinates, warping, resizing of flows, the range map."""

import torch
import torch.nn.functional as F
from torch import Tensor

FEW_CHANNELS = 16  # up to so many an exported sampling is no faster as a table of rows


def coordinate_grid(height: int, width: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """Pixel coordinates (x, y) as (1,2,height,width); pixel centres are integers."""
    y, x = torch.meshgrid(
        torch.arange(height, device=device, dtype=dtype),
        torch.arange(width, device=device, dtype=dtype),
        indexing="ij",
    )
    return torch.stack([x, y])[None]


def target_points(flow12: Tensor, origin: Tensor | None = None) -> Tensor:
    """Where each pixel goes, x + flow12(x), (B,2,h,w); `origin` (B,2) is the first pixel's place in the frame."""
    points = coordinate_grid(*flow12.shape[-2:], flow12.device, flow12.dtype) + flow12
    return points if origin is None else points + origin[:, :, None, None]


def sample(image: Tensor, points: Tensor, padding: str = "zeros", align_corners: bool = True) -> Tensor:
    """Bilinear values of image (B,C,H,W) at points (B,2,h,w) in its pixel coordinates.

    Outside the image there is zero, or with padding="border" its edge. align_corners=False reproduces
    releases that normalise by size−1 and forget the keyword: they sample up to half a pixel off.
    """
    height, width = image.shape[-2:]
    scale = points.new_tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)]).view(1, 2, 1, 1)
    if torch.compiler.is_exporting() and image.shape[1] > FEW_CHANNELS:
        size = points.new_tensor([width, height]).view(1, 2, 1, 1)
        return gathered_sampling(image, points if align_corners else (points * scale * size - 1) / 2, padding)
    grid = (points * scale - 1).permute(0, 2, 3, 1)
    return F.grid_sample(image, grid, padding_mode=padding, align_corners=align_corners)


def gathered_sampling(image: Tensor, points: Tensor, padding: str) -> Tensor:
    """As `sample`, for an export: the four pixels around each point are rows of a table, the channels last.

    ONNX Runtime copies rows of 32 or 64 channels in a half or a quarter of the time that its GridSample takes.
    """
    batch, channels, height, width = image.shape
    last = points.new_tensor([width - 1, height - 1]).view(1, 2, 1, 1)
    if padding == "border":
        points = points.clamp(min=0).minimum(last)
    table = image.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    first = torch.arange(batch, device=image.device).view(batch, 1, 1) * (height * width)
    corner = points.floor()
    total = 0
    for step in ((0, 0), (1, 0), (0, 1), (1, 1)):
        pixel = corner + points.new_tensor(step).view(1, 2, 1, 1)
        share = (1 - (points - pixel).abs()).prod(dim=1)
        nearest = pixel.clamp(min=0).minimum(last)
        share = share * (pixel == nearest).all(dim=1)
        x, y = nearest.long().unbind(dim=1)
        index = (first + y * width + x).flatten()
        total = total + table.index_select(0, index) * share.reshape(-1, 1)
    return total.reshape(batch, *points.shape[-2:], channels).permute(0, 3, 1, 2)


def warp(
    image2: Tensor,
    flow12: Tensor,
    padding: str = "zeros",
    align_corners: bool = True,
    origin: Tensor | None = None,
) -> Tensor:
    """Image 2 (B,C,H,W) seen from frame 1: its value at x + flow12(x), flow12 (B,2,h,w) in pixels.

    `origin` (B,2) is the place of flow12's first pixel in image2, for the full-image warping of crops
    (SMURF, Stone et al. 2021, section 3.3): a crop's loss then looks at the whole second frame.
    """
    return sample(image2, target_points(flow12, origin), padding, align_corners)


def inside_frame(flow12: Tensor, size: tuple[int, int] | None = None, origin: Tensor | None = None) -> Tensor:
    """Mask (B,1,h,w) of the pixels whose target x + flow12(x) lies in a frame of `size` (height, width)."""
    height, width = size or flow12.shape[-2:]
    x, y = target_points(flow12, origin).split(1, dim=1)
    return ((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)).to(flow12.dtype)


def resize_flow(flow: Tensor, size: tuple[int, int]) -> Tensor:
    """Flow (B,2,h,w) brought to `size` (height, width); its values are scaled with the grid."""
    height, width = flow.shape[-2:]
    if (height, width) == tuple(size):
        return flow
    scale = flow.new_tensor([size[1] / width, size[0] / height]).view(1, 2, 1, 1)
    factor = size[1] // width
    if tuple(size) == (height * factor, width * factor):
        return enlarge(flow * scale, factor)
    shrinks = size[0] < height or size[1] < width
    # With two channels last in memory the interpolation takes four times as long.
    flow = (flow * scale).contiguous()
    return F.interpolate(flow, size, mode="bilinear", align_corners=False, antialias=shrinks)


def bilinear_mix(factor: int, like: Tensor) -> Tensor:
    """How bilinear enlarging mixes a pixel's 3×3 neighbours into its factor×factor fine ones.

    (factor²,3,3), fine pixels row by row, pixels as areas (align_corners=False); device and type are those of `like`.
    """
    places = (torch.arange(factor, device=like.device, dtype=like.dtype) + 0.5) / factor - 0.5
    # The shares of the pixel before, of this and of the next.
    line = torch.stack([-places, 1 - places.abs(), places], dim=1).clamp(min=0)
    return torch.einsum("ik,jl->ijkl", line, line).flatten(0, 1)


def enlarge(image: Tensor, factor: int) -> Tensor:
    """Bilinear values of image (B,C,h,w) at `factor` times its size, edges repeated: F.interpolate's.

    Compiled, as a convolution of 3×3 pixels to factor² ones: the interpolation that the compiler makes takes four times
    as long; PyTorch's own a quarter of the convolution's time.
    """
    batch, channels, height, width = image.shape
    if not torch.compiler.is_compiling() or torch.compiler.is_exporting():
        size = height * factor, width * factor
        # With few channels last in memory the interpolation takes three times as long.
        return F.interpolate(image.contiguous(), size, mode="bilinear", align_corners=False)
    weight = bilinear_mix(factor, image)[:, None]
    padded = F.pad(image, (1,) * 4, mode="replicate").reshape(batch * channels, 1, height + 2, width + 2)
    with torch.autocast(image.device.type, enabled=False):
        phases = F.conv2d(padded, weight)
    return F.pixel_shuffle(phases, factor).reshape(batch, channels, height * factor, width * factor)


def range_map(flow21: Tensor) -> Tensor:
    """How much of frame 2 lands on each pixel of frame 1, (B,1,H,W): every pixel splat bilinearly along flow21.

    About 1 where frame 1 is seen in frame 2, 0 where nothing points to it (Wang et al., CVPR 2018).
    """
    batch, _, height, width = flow21.shape
    points = target_points(flow21)
    corner = points.floor()
    fraction = points - corner
    count = flow21.new_zeros(batch, height * width + 1)
    for step_x in (0, 1):
        for step_y in (0, 1):
            x, y = corner[:, 0] + step_x, corner[:, 1] + step_y
            weight = (fraction[:, 0] if step_x else 1 - fraction[:, 0]) * (
                fraction[:, 1] if step_y else 1 - fraction[:, 1]
            )
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            # What falls outside goes to one waste cell, so that no index depends on the data.
            index = torch.where(inside, y * width + x, torch.full_like(x, height * width)).long()
            count.scatter_add_(1, index.flatten(1), weight.flatten(1))
    return count[:, : height * width].view(batch, 1, height, width)
