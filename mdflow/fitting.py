"""How frames of any size meet a network's stride, and how its flow comes back to the frames' own pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from mdflow.errors import InputError
from mdflow.geometry import resize_flow

Size = tuple[int, int]


@dataclass(frozen=True)
class Fit:
    """Frames of size `original` are resized to `inner` and then padded; sizes are (height, width)."""

    original: Size
    inner: Size
    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0

    def apply(self, image: Tensor) -> Tensor:
        """Image (B,3,H,W) float, ready for the network; the padding repeats the border."""
        if self.inner != self.original:
            shrinks = self.inner[0] < self.original[0] or self.inner[1] < self.original[1]
            image = F.interpolate(image, self.inner, mode="bilinear", align_corners=False, antialias=shrinks)
        border = (self.left, self.right, self.top, self.bottom)
        return F.pad(image, border, mode="replicate") if any(border) else image  # by nothing, it would copy

    def undo(self, flow: Tensor) -> Tensor:
        """The network's flow (B,2,h,w) on the original frames, (B,2,H,W) in their pixels."""
        return resize_flow(self.crop(flow), self.original)

    def crop(self, padded: Tensor) -> Tensor:
        """What lies on the frame of size `inner`, (B,C,h,w) without the padding."""
        height, width = self.inner
        return padded[..., self.top : self.top + height, self.left : self.left + width]


def pad(original: Size, stride: int) -> Fit:
    """RAFT's way for Sintel (Teed & Deng 2020): padded on all sides to the next multiples of the stride."""
    height, width = _missing(original, stride)
    return Fit(original, original, width // 2, width - width // 2, height // 2, height - height // 2)


def pad_bottom(original: Size, stride: int) -> Fit:
    """RAFT's way for KITTI: as `pad`, but all missing rows are added below, none above."""
    height, width = _missing(original, stride)
    return Fit(original, original, width // 2, width - width // 2, 0, height)


def resize(original: Size, stride: int, size: Size | None = None) -> Fit:
    """MDFlow's way: the frame is stretched to `size`, by default the nearest multiples of the stride."""
    height, width = size or tuple(max(round(length / stride), 1) * stride for length in original)
    if min(height, width) < 1 or height % stride or width % stride:
        raise InputError(
            f"The size {height}x{width} is no multiple of the network's stride {stride}; "
            f"give for example {max(-(-height // stride), 1) * stride}x{max(-(-width // stride), 1) * stride}."
        )
    return Fit(original, (height, width))


def own(original: Size, stride: int) -> Fit:
    """This project's way: `pad`, but a frame under four strides is first enlarged, up to four times.

    A small frame would otherwise be mostly padding, and the coarsest level of a pyramid a single pixel.
    """
    enlarge = min(max(4 * stride / min(original), 1), 4)
    inner = tuple(round(length * enlarge) for length in original)
    height, width = _missing(inner, stride)
    return Fit(original, inner, width // 2, width - width // 2, height // 2, height - height // 2)


FITS: dict[str, Callable[..., Fit]] = {"pad": pad, "pad-bottom": pad_bottom, "resize": resize, "own": own}


def _missing(original: Size, stride: int) -> Size:
    height, width = original
    return -height % stride, -width % stride
