"""A network as one ONNX file: two images in, full-resolution flow in pixels out."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from mdflow.data.pixels import write_bytes
from mdflow.data.sample import Sample
from mdflow.deployment.frame import CORE_INPUTS, CORE_OUTPUT, put_in_frame
from mdflow.deployment.quantize import RoundedConvolution
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError, missing
from mdflow.fitting import Size
from mdflow.inference import Predictor
from mdflow.networks.network import FlowNetwork

OPSET = 18  # 16 brought GridSample, 18 is the first that torch's exporter writes itself
FOLDED = 256  # values: larger constants that can be computed, as the places of all pixels, are when a file is loaded


class LastFlow(nn.Module):
    """The network's last flow alone."""

    def __init__(self, network: FlowNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image1: Tensor, image2: Tensor) -> Tensor:
        return self.network(image1, image2, last_only=True)[-1]


class Difference(NamedTuple):
    """How far an exported network's flow is from PyTorch's, in pixels, and the largest flow compared."""

    largest: float
    mean: float
    largest_flow: float


def to_onnx(network: FlowNetwork, size: Size, dynamic: bool = False, kind: str = "uint8"):  # onnx is optional: no type
    """The network as an onnx.ModelProto for images of `size` (height, width), or of any size if `dynamic`.

    The images are (1,3,H,W) RGB, uint8 or, with the kind "float", float32 in [0,1]; the flow (1,2,H,W) in pixels.
    Operators of ONNX alone, opset 18, without the exporter's notes on each node. Raises InputError without the extra
    export, for a network without weights or with quantised ones (mdflow.deployment.integer has those), and when it
    cannot be exported, with the layer that stands in the way.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing("Exporting needs onnx and onnxscript", "export") from error
    if not any(True for _ in network.parameters()):
        raise InputError(f"'{network.name}' has no weights to export; choose another network.")
    if any(isinstance(layer, RoundedConvolution) for layer in network.modules()):
        raise InputError(f"'{network.name}' with these weights is quantised; export it with --int8.")
    model = traced(network, size, dynamic)
    del model.graph.value_info[:]  # runtimes find the shapes themselves
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return put_in_frame(model, network.stride, None if dynamic else size, kind)


def traced(network: FlowNetwork, size: Size, dynamic: bool):  # onnx is optional: no type
    """The network alone as an onnx.ModelProto, from CORE_INPUTS, padded to its stride, to CORE_OUTPUT."""
    from onnxscript.optimizer import optimize_ir

    rows, columns = (-(-length // network.stride) for length in size)
    rows, columns = (max(rows, 2), max(columns, 2)) if dynamic else (rows, columns)
    # Multiples of the stride by declaration: the sizes of all levels then follow without a case.
    free = {2: network.stride * Dim("rows", min=2), 3: network.stride * Dim("columns", min=2)}
    try:
        with torch.no_grad(), without_asides():
            program = torch.onnx.export(
                LastFlow(network.cpu()).eval(),
                tuple(torch.zeros(2, 1, 3, rows * network.stride, columns * network.stride)),
                input_names=CORE_INPUTS,
                output_names=[CORE_OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
                dynamic_shapes=(free, free) if dynamic else None,
                optimize=False,
            )
            optimize_ir(program.model, output_size_limit=FOLDED)
    except Exception as error:  # the exporter wraps whatever its many parts raise
        raise InputError(f"'{network.name}' cannot be exported: {obstacle(error, network)}.") from error
    return program.model_proto


@contextmanager
def without_asides() -> Iterator[None]:
    """Within, the exporter keeps to itself what is no user's concern: torchvision, its own old calls, axes' names."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.utils._sympy.interp")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name", UserWarning)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def obstacle(error: BaseException, network: FlowNetwork) -> str:
    """The layer in whose forward the exporter stopped, and why, in one line."""
    names = {id(module): name or "the network itself" for name, module in network.named_modules()}
    found, root = "", error
    while root is not None:
        trace = root.__traceback__
        while trace is not None:
            found = names.get(id(trace.tb_frame.f_locals.get("self")), found)
            trace = trace.tb_next
        error, root = root, root.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0].rstrip(".") if lines else "no reason given"
    return f"{found or 'translation'}: {type(error).__name__}: {reason}"


def write_model(model, path: Path) -> None:
    """Write an onnx.ModelProto to one file."""
    write_bytes(path, model.SerializeToString())


def compare(network: FlowNetwork, path: Path, samples: Iterable[Sample]) -> Difference:
    """How far the exported file's flow is from the network's on the images of `samples`."""
    predictor, exported = Predictor(network), OnnxPredictor(path)
    distances, largest_flow = [], 0.0
    for sample in samples:
        flow = predictor(sample.image1, sample.image2)
        distances.append(np.abs(exported(sample.image1, sample.image2) - flow))
        largest_flow = max(largest_flow, float(np.abs(flow).max()))
    return Difference(
        float(max(one.max() for one in distances)),
        float(np.mean([one.mean() for one in distances])),
        largest_flow,
    )
