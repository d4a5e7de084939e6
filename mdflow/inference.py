"""Using a network: flow of images of any size, as arrays or tensors, on any device."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from mdflow.compiled import compiled
from mdflow.directions import BothDirections
from mdflow.errors import InputError
from mdflow.fitting import FITS, Fit, Size, resize
from mdflow.networks.network import FlowNetwork
from mdflow.occlusion import forward_backward
from mdflow.system.processor import require_bfloat16

Image = np.ndarray | Tensor
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Predictor:
    """A network that takes images of any size.

    `fit` names the way to meet the network's stride (mdflow.fitting.FITS): "pad" as RAFT for Sintel,
    "pad-bottom" as RAFT for KITTI, "resize" as MDFlow, to `size` (height, width) or to the nearest
    multiples, "own". With `compile` the network runs through torch.compile (mdflow.compiled). `precision`
    "bfloat16": its convolutions in half the bits, coordinates and flows in float32 (docs/speed.md says what that
    costs). The network is moved to `device`, if one is given, and to evaluation mode. Raises InputError for an
    unknown `fit` or `precision`, for bfloat16 where the device has none, or a `size` with another fit than "resize".
    """

    def __init__(
        self,
        network: FlowNetwork,
        fit: str = "pad",
        size: Size | None = None,
        compile: bool = False,
        device: torch.device | str | None = None,
        precision: str = "float32",
    ) -> None:
        if fit not in FITS:
            raise InputError(f"Unknown fit '{fit}'; choose from {', '.join(FITS)}.")
        if precision not in PRECISIONS:
            raise InputError(f"Unknown precision '{precision}'; choose from {', '.join(PRECISIONS)}.")
        if size is not None and fit != "resize":
            raise InputError(f"A size goes with the fit 'resize', not with '{fit}'.")
        self.network = network.to(device).eval()
        if precision == "bfloat16":
            require_bfloat16(self._device())
        self._fit = partial(resize, size=size) if size else FITS[fit]
        self._mixed = partial(torch.autocast, dtype=PRECISIONS[precision], enabled=precision != "float32")
        self._forward = compiled(network.forward) if compile else network.forward
        self._both_directions = compiled(network.both_directions) if compile else network.both_directions

    @torch.no_grad()
    def __call__(self, image1: Image, image2: Image) -> Image:
        """Flow from image1 to image2 in pixels, of the images' size.

        Two (H,W,3) uint8 RGB arrays give an (H,W,2) float32 array; two (B,3,H,W) tensors, uint8 or float in
        [0,1], give a (B,2,H,W) tensor on the network's device. Raises InputError for anything else.
        """
        fit, tensor1, tensor2 = self._prepare(image1, image2)
        with self._mixed(tensor1.device.type):
            flows = self._forward(tensor1, tensor2, last_only=True)
        flow = fit.undo(flows[-1].float())
        return _as_array(flow) if isinstance(image1, np.ndarray) else flow

    @torch.no_grad()
    def both(self, image1: Image, image2: Image) -> BothDirections:
        """Flows in both directions and the visibility by their forward-backward check."""
        fit, tensor1, tensor2 = self._prepare(image1, image2)
        with self._mixed(tensor1.device.type):
            flows12, flows21 = self._both_directions(tensor1, tensor2, last_only=True)
        flow12, flow21 = fit.undo(flows12[-1].float()), fit.undo(flows21[-1].float())
        both = flow12, flow21, forward_backward(flow12, flow21), forward_backward(flow21, flow12)
        if isinstance(image1, np.ndarray):
            arrays = [_as_array(tensor) for tensor in both]
            return BothDirections(*arrays[:2], *(mask[..., 0] > 0.5 for mask in arrays[2:]))
        return BothDirections(*both)

    def _prepare(self, image1: Image, image2: Image) -> tuple[Fit, Tensor, Tensor]:
        """The fit for this size, and both images as the network wants them."""
        tensor1, tensor2 = (image_tensor(image).to(self._device()) for image in (image1, image2))
        if tensor1.shape != tensor2.shape:
            raise InputError(
                f"Both images must have one size, got {_size(tensor1)} and {_size(tensor2)}; "
                "crop or resize one of them."
            )
        fit = self._fit(tuple(tensor1.shape[-2:]), self.network.stride)
        return fit, fit.apply(tensor1), fit.apply(tensor2)

    def _device(self) -> torch.device:
        return next((parameter.device for parameter in self.network.parameters()), torch.device("cpu"))


def image_tensor(image: Image) -> Tensor:
    """An image as (B,3,H,W) float32 in [0,1], from the kinds that Predictor takes; InputError for others."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise InputError(f"Expected an (H,W,3) uint8 RGB array, got {image.shape} {image.dtype}.")
        image = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    if not isinstance(image, Tensor) or image.dim() != 4 or image.shape[1] != 3:
        found = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"Expected an (H,W,3) uint8 array or a (B,3,H,W) tensor, got {found}.")
    if not image.numel():
        raise InputError(f"Expected images with at least one pixel, got {tuple(image.shape)}.")
    if image.dtype == torch.uint8:
        return image.float().div_(255)
    if not image.is_floating_point() or image.amax() > 2:
        raise InputError("Expected a tensor of uint8, or of floats in [0,1]; divide by 255.")
    return image.float()


def _as_array(tensor: Tensor) -> np.ndarray:
    return tensor[0].permute(1, 2, 0).float().cpu().numpy()


def _size(image: Tensor) -> str:
    return f"{image.shape[-2]}x{image.shape[-1]}"
