"""The flows of a pair in both temporal directions, and where they agree: in NumPy, for machines without PyTorch."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

RELATIVE, ABSOLUTE = 0.01, 0.5  # those of mdflow.occlusion, which PyTorch comes with


class BothDirections(NamedTuple):
    """The flows of a pair in both temporal directions, and where each frame is visible in the other one.

    For arrays: flows (H,W,2) float32, masks (H,W) bool. For tensors: flows (B,2,H,W), masks (B,1,H,W) float.
    """

    flow12: "np.ndarray | Tensor"
    flow21: "np.ndarray | Tensor"
    visible1: "np.ndarray | Tensor"
    visible2: "np.ndarray | Tensor"


def checked(flow12: np.ndarray, flow21: np.ndarray) -> BothDirections:
    """Two flows (H,W,2) with the visibility by their forward-backward check."""
    return BothDirections(flow12, flow21, forward_backward(flow12, flow21), forward_backward(flow21, flow12))


def forward_backward(flow12: np.ndarray, flow21: np.ndarray) -> np.ndarray:
    """Pixels of frame 1 (H,W) bool whose flow and the backward flow found at its end cancel.

    As mdflow.occlusion.forward_backward.
    """
    backward = warp(flow21, flow12)
    squared = (flow12**2).sum(-1) + (backward**2).sum(-1)
    return ((flow12 + backward) ** 2).sum(-1) < RELATIVE * squared + ABSOLUTE


def warp(image2: np.ndarray, flow12: np.ndarray) -> np.ndarray:
    """Bilinear values of image 2 (H,W,C) at x + flow12(x), zero outside, as mdflow.geometry.warp.

    OpenCV's remap rounds the places to a 32nd of a pixel.
    """
    height, width = image2.shape[:2]
    rows, columns = np.indices(flow12.shape[:2], np.float32)
    x = np.nan_to_num(columns + flow12[..., 0], nan=-1).clip(-1, width)
    y = np.nan_to_num(rows + flow12[..., 1], nan=-1).clip(-1, height)
    left, top = np.floor(x), np.floor(y)
    dx, dy = (x - left)[..., None], (y - top)[..., None]
    around = np.pad(image2, ((1, 2), (1, 2), (0, 0)))  # what lies outside, up to the pixel after the last place
    table = around.reshape(-1, image2.shape[-1])
    first = (top.astype(int) + 1) * around.shape[1] + left.astype(int) + 1
    upper = (1 - dx) * table.take(first, 0) + dx * table.take(first + 1, 0)
    below = first + around.shape[1]
    return (1 - dy) * upper + dy * ((1 - dx) * table.take(below, 0) + dx * table.take(below + 1, 0))
