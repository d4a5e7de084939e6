"""A quantised network as an ONNX file whose convolutions ONNX Runtime computes in integers (the QDQ form)."""

import numpy as np

from mdflow.deployment.export import to_onnx
from mdflow.deployment.quantize import Grid, IntegerConvolution, convolutions, to_floats, weight_scales
from mdflow.errors import InputError
from mdflow.fitting import Size
from mdflow.networks.network import FlowNetwork

PREFIX = "network."  # of the weights' names in mdflow.deployment.export.LastFlow


def to_integer_onnx(
    network: FlowNetwork, size: Size, dynamic: bool = False, kind: str = "uint8"
):  # onnx is optional: no type
    """The quantised network as an onnx.ModelProto, weights and what its convolutions take and give in 8 bits.

    Raises InputError as mdflow.deployment.export.to_onnx does, and for a network without quantised convolutions.
    """
    layers = {name: layer for name, layer in convolutions(network).items() if isinstance(layer, IntegerConvolution)}
    if not layers:
        raise InputError(f"'{network.name}' has no quantised convolution; make some with `mdflow quantize`.")
    return put_integers(to_onnx(to_floats(network), size, dynamic, kind), layers)


def put_integers(model, layers: dict[str, IntegerConvolution]):
    """The model with each named convolution between roundings, its weights and bias stored as integers; in place."""
    graph = IntegerGraph(model)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        name = node.input[1].removeprefix(PREFIX).removesuffix(".weight") if node.op_type == "Conv" else None
        if name in layers:
            graph.add_convolution(node, name, layers[name])
        else:
            model.graph.node.append(node)
    missing = set(layers) - graph.done
    if missing:
        raise InputError(f"The exported graph has no convolution {', '.join(sorted(missing))}; export it in floats.")
    graph.drop_unused()
    return model


class IntegerGraph:
    """An ONNX model to which quantised convolutions are added, node by node in the order of execution."""

    def __init__(self, model) -> None:
        import onnx

        self.onnx, self.graph = onnx, model.graph
        self.constants = {one.name for one in model.graph.initializer}
        self.rounded: dict[tuple[str, Grid], str] = {}
        self.done: set[str] = set()

    def add_convolution(self, node, name: str, layer: IntegerConvolution) -> None:
        """round -> the node with integer weights -> round, under the node's old output name."""
        before, after = layer.grids
        scales = weight_scales(layer.weight).numpy()
        weight = layer.weight.detach().numpy() / scales.reshape(-1, 1, 1, 1)
        node.input[0] = self.round(node.input[0], before)
        node.input[1] = self.stored(f"{name}.weight8", np.clip(np.rint(weight), -127, 127).astype(np.int8), scales)
        if layer.bias is not None:
            steps = scales.astype(np.float64) * before.scale
            bias = np.rint(layer.bias.detach().numpy() / steps).astype(np.int32)
            node.input[2] = self.stored(f"{name}.bias32", bias, steps.astype(np.float32))
        output, exact = node.output[0], f"{node.output[0]}_exact"
        node.output[0] = exact
        self.graph.node.append(node)
        self.round(exact, after, output)
        self.done.add(name)

    def round(self, tensor: str, grid: Grid, output: str | None = None) -> str:
        """The name of the tensor on the grid, made once."""
        if (tensor, grid) not in self.rounded:
            integers, output = f"{tensor}_on_{len(self.rounded)}", output or f"{tensor}_rounded_{len(self.rounded)}"
            scale = self.constant(f"scale_{grid.scale!r}", np.float32(grid.scale))
            zero = self.constant(f"zero_{grid.zero_point}", np.uint8(grid.zero_point))
            self.add("QuantizeLinear", [tensor, scale, zero], integers)
            self.add("DequantizeLinear", [integers, scale, zero], output)
            self.rounded[tensor, grid] = output
        return self.rounded[tensor, grid]

    def stored(self, name: str, integers: np.ndarray, scales: np.ndarray) -> str:
        """The name of the floats that integers and a scale for each output channel stand for."""
        floats = f"{name}_floats"
        if name not in self.constants:
            zeros = np.zeros(len(scales), integers.dtype)
            inputs = [(name, integers), (f"{name}_scale", scales), (f"{name}_zero", zeros)]
            self.add("DequantizeLinear", [self.constant(*one) for one in inputs], floats, axis=0)
        return floats

    def add(self, kind: str, inputs: list[str], output: str, **attributes: int) -> None:
        """Append a node."""
        self.graph.node.append(self.onnx.helper.make_node(kind, inputs, [output], **attributes))

    def constant(self, name: str, value: np.ndarray) -> str:
        """The name of a constant, stored once."""
        if name not in self.constants:
            self.graph.initializer.append(self.onnx.numpy_helper.from_array(np.asarray(value), name))
            self.constants.add(name)
        return name

    def drop_unused(self) -> None:
        """Leave out the constants that no node takes any more: the weights in floats."""
        used = {name for node in self.graph.node for name in node.input}
        kept = [one for one in self.graph.initializer if one.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
