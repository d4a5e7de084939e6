"""Using an exported network: flow by ONNX Runtime, on a machine that need not have PyTorch."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mdflow.deployment.frame import INPUTS, WHITE
from mdflow.directions import BothDirections, checked
from mdflow.errors import InputError, missing

if TYPE_CHECKING:
    from torch import Tensor


class OnnxPredictor:
    """A file of `mdflow export` or `mdflow quantize`, called as mdflow.Predictor is.

    `size` is the (height, width) that the file takes, None for any; smaller images are padded to it. `threads` is
    how many cores it uses, by default all that the process may use. Raises InputError for a file that is no such
    network, or without the extra export.
    """

    def __init__(self, path: Path | str, threads: int = 0) -> None:
        self.path = Path(path)
        self.session = open_session(self.path, threads)
        inputs = {one.name: one for one in self.session.get_inputs()}
        if tuple(inputs) != INPUTS:
            raise InputError(f"'{path}' takes {', '.join(inputs)}; expected a file that `mdflow export` wrote.")
        self.takes_floats = inputs[INPUTS[0]].type == "tensor(float)"
        height, width = inputs[INPUTS[0]].shape[2:]
        self.size = (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def __call__(self, image1: np.ndarray, image2: np.ndarray) -> np.ndarray:
        """Flow (H,W,2) float32 in pixels from image1 to image2, (H,W,3) uint8 RGB; InputError for anything else."""
        if image1.shape != image2.shape:
            raise InputError(f"Both images must have one size, got {image1.shape[:2]} and {image2.shape[:2]}.")
        height, width = image1.shape[:2]
        margins = self._margins(height, width)
        around = ((0, 0), (0, 0), *margins)
        planes = [np.pad(_planes(image), around, mode="edge") for image in (image1, image2)]
        if self.takes_floats:
            planes = [plane.astype(np.float32) / WHITE["uint8"] for plane in planes]
        (flow,) = self.session.run(None, dict(zip(INPUTS, planes, strict=True)))
        (top, _), (left, _) = margins
        return np.ascontiguousarray(flow[0, :, top : top + height, left : left + width].transpose(1, 2, 0))

    def both(self, image1: "np.ndarray | Tensor", image2: "np.ndarray | Tensor") -> BothDirections:
        """As mdflow.Predictor.both, by two calls; of arrays without PyTorch."""
        if isinstance(image1, np.ndarray):
            return checked(self(image1, image2), self(image2, image1))
        return _as_tensors(self.both(_from_tensor(image1), _from_tensor(image2)))

    def _margins(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """How many rows above and below, columns left and right bring an image to the file's size."""
        missing = [full - length for full, length in zip(self.size or (height, width), (height, width), strict=True)]
        if min(missing) < 0:
            raise InputError(
                f"'{self.path}' takes images of up to {self.size[0]}x{self.size[1]}, got {height}x{width}; "
                "export it with that --size, or with --dynamic."
            )
        return tuple((length // 2, length - length // 2) for length in missing)


def open_session(path: Path, threads: int = 0):  # onnxruntime is optional: no type
    """The file as an onnxruntime.InferenceSession on the CPU; InputError when that fails."""
    try:
        import onnxruntime
    except ImportError as error:
        raise missing(f"'{path}' needs ONNX Runtime", "export") from error
    if not path.exists():
        raise InputError(f"'{path}' does not exist; expected an .onnx file that `mdflow export` wrote.")
    if not path.is_file() or path.suffix != ".onnx":
        raise InputError(f"'{path}' is no .onnx file; expected one that `mdflow export` wrote.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or confined_cores()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as mdflow.system.threads has it
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common class below Exception
        raise InputError(f"'{path}' cannot be run by ONNX Runtime: {str(error).splitlines()[0]}.") from error


def confined_cores() -> int:
    """How many cores the process may use if that is not all of them, else 0.

    ONNX Runtime starts a thread for each core of the machine; two on one core take nearly twice the time of one.
    """
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    return usable if usable != os.cpu_count() else 0


def _planes(image: np.ndarray) -> np.ndarray:
    """(H,W,3) as the file wants it, (1,3,H,W)."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise InputError(f"Expected an (H,W,3) uint8 RGB array, got {image.shape} {image.dtype}.")
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def _from_tensor(image: "Tensor") -> np.ndarray:
    """A (1,3,H,W) tensor, uint8 or float in [0,1], as an (H,W,3) uint8 array."""
    if image.dim() != 4 or len(image) != 1:
        raise InputError(f"The file takes one pair at a time, so tensors (1,3,H,W); got {tuple(image.shape)}.")
    if image.is_floating_point():
        image = (255 * image).round().byte()
    return image[0].permute(1, 2, 0).cpu().numpy()


def _as_tensors(both: BothDirections) -> BothDirections:
    """Flows (H,W,2) and masks (H,W) as tensors (1,2,H,W) and (1,1,H,W)."""
    import torch

    flows = (torch.from_numpy(flow).permute(2, 0, 1)[None] for flow in both[:2])
    return BothDirections(*flows, *(torch.from_numpy(mask)[None, None].float() for mask in both[2:]))
