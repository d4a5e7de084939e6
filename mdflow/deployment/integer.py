"""A quantised network as an ONNX file whose convolutions ONNX Runtime computes in integers (the QDQ form)."""

import numpy as np

from mdflow.deployment.export import to_onnx
from mdflow.deployment.quantize import (
    DIGIT,
    MIRRORED,
    Grid,
    IntegerConvolution,
    RoundedConvolution,
    convolutions,
    with_float_convolutions,
)
from mdflow.deployment.shuffles import take_out_shuffles
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
    layers = {name: layer for name, layer in convolutions(network).items() if isinstance(layer, RoundedConvolution)}
    if not layers:
        raise InputError(f"'{network.name}' has no quantised convolution; make some with `mdflow quantize`.")
    return put_integers(to_onnx(with_float_convolutions(network), size, dynamic, kind), layers)


def put_integers(model, layers: dict[str, RoundedConvolution]):
    """The model with the weights of the named convolutions stored as integers; in place.

    An IntegerConvolution comes between roundings, its bias an integer too.
    """
    integers = {name for name, layer in layers.items() if isinstance(layer, IntegerConvolution)}
    graph, orders = IntegerGraph(model), take_out_shuffles(model.graph, {f"{PREFIX}{name}.weight" for name in integers})
    nodes = list(model.graph.node)
    del model.graph.node[:]
    for node in nodes:
        name = node.input[1].removeprefix(PREFIX).removesuffix(".weight") if node.op_type == "Conv" else None
        if name in integers:
            graph.add_convolution(node, name, layers[name], orders.get(node.output[0]))
        elif name in layers:
            graph.add_rounded(node, name, layers[name])
        else:
            model.graph.node.append(node)
    missing = integers - graph.done
    if missing:
        raise InputError(f"The exported graph has no convolution {', '.join(sorted(missing))}; export it in floats.")
    graph.drop_unused()
    shorten_names(model.graph)
    return model


def shorten_names(graph) -> None:
    """Number what is computed, where the exporter has sentences: thousands of these weigh as 5 % of the weights."""
    kept = {one.name for one in (*graph.input, *graph.output, *graph.initializer)} | {""}  # "": an input left out
    numbers: dict[str, str] = {}
    for node in graph.node:
        node.ClearField("name")
        for names in (node.input, node.output):
            names[:] = [name if name in kept else numbers.setdefault(name, str(len(numbers))) for name in names]


class IntegerGraph:
    """An ONNX model to which quantised convolutions are added, node by node in the order of execution."""

    def __init__(self, model) -> None:
        import onnx

        self.onnx, self.graph = onnx, model.graph
        self.constants = {one.name for one in model.graph.initializer}
        self.rounded: dict[tuple[str, Grid], str] = {}
        self.integer: dict[tuple[str, Grid], str] = {}
        self.made: set[str] = set()
        self.done: set[str] = set()

    def add_convolution(self, node, name: str, layer: IntegerConvolution, order: np.ndarray | None) -> None:
        """round -> the node with integer weights -> round, under the node's old output name.

        order: the channel that comes out in each place, where it is not the same.
        """
        before, after = layer.grids
        scales = layer.scales.numpy()
        node.input[0] = self.digits(node.input[0], before, layer.fine.numpy())
        places, integers = slice(None), self.weight(name, layer)
        if order is not None:
            places, integers = order, self.dense(integers, layer.stored_weight.shape, layer.groups, order)
            next(one for one in node.attribute if one.name == "group").i = 1
        node.input[1] = self.stored(integers, scales[places], np.int8)
        if layer.bias is not None:
            steps = scales.astype(np.float64) * before.scale
            bias = np.rint(layer.bias.detach().numpy() / steps).astype(np.int32)
            bias32 = self.constant(f"{name}.bias32", bias[places])
            node.input[2] = self.stored(bias32, steps.astype(np.float32)[places], np.int32)
        output, exact = node.output[0], f"{node.output[0]}_exact"
        node.output[0] = exact
        self.graph.node.append(node)
        self.round(exact, after, output)
        self.done.add(name)

    def add_rounded(self, node, name: str, layer: RoundedConvolution) -> None:
        """The node in floats with a weight that is stored in integers.

        A product, for ONNX Runtime does it when it loads the file; a DequantizeLinear it would do for each frame.
        """
        floats = f"{name}.weight8_product"
        if floats not in self.made:
            scales = self.constant(f"{name}.scales", layer.scales.numpy().reshape(-1, 1, 1, 1))
            self.add("Cast", [self.weight(name, layer)], f"{name}.weight8_cast", to=self.onnx.TensorProto.FLOAT)
            self.add("Mul", [f"{name}.weight8_cast", scales], floats)
        node.input[1] = floats
        self.graph.node.append(node)

    def weight(self, name: str, layer: RoundedConvolution) -> str:
        """The name of a convolution's weight in 8 bits."""
        steps = layer.stored_weight.detach().numpy() / layer.scales.numpy().reshape(-1, 1, 1, 1)
        return self.constant(f"{name}.weight8", np.clip(np.rint(steps), -127, 127).astype(np.int8))

    def digits(self, tensor: str, grid: Grid, fine: np.ndarray) -> str:
        """The name of what IntegerConvolution.digits makes of the tensor."""
        if not len(fine):
            return self.round(tensor, grid)
        # All in 8 bits: the floats of the whole are never joined nor compared.
        mirrored, left = self.mirrored(self.some(tensor, fine[:MIRRORED]), grid)
        parts = [self.integers(tensor, grid), mirrored, self.second(left, grid)]
        if len(fine) > MIRRORED:
            few = self.some(tensor, fine[MIRRORED:])
            parts.append(self.second(self.add("Sub", [few, self.round(few, grid)], f"{few}_left"), grid))
        whole = self.add("Concat", parts, f"{left}_behind", axis=1)
        return self.floats(whole, grid, f"{whole}_rounded")

    def some(self, tensor: str, channels: np.ndarray) -> str:
        """The name of some of a tensor's channels."""
        listed = self.constant(f"channels_{'_'.join(map(str, channels))}", channels)
        return self.add("Gather", [tensor, listed], f"{tensor}_channels_{len(self.made)}", axis=1)

    def mirrored(self, few: str, grid: Grid) -> tuple[str, str]:
        """The names of the 8-bit integers of what the grid clips, its sign changed, and of what is left then."""
        clipped = self.add("Sub", [self.round(few, grid), few], f"{few}_clipped")
        mirrored = self.integers(clipped, grid)
        return mirrored, self.add("Sub", [self.floats(mirrored, grid, f"{few}_mirrored"), clipped], f"{few}_left")

    def second(self, left: str, grid: Grid) -> str:
        """The name of the 8-bit integers of second digits, of what first ones left."""
        return self.integers(self.add("Mul", [left, self.constant("digit", np.float32(DIGIT))], f"{left}_second"), grid)

    def round(self, tensor: str, grid: Grid, output: str | None = None) -> str:
        """The name of the tensor on the grid, made once."""
        if (tensor, grid) not in self.rounded:
            output = output or f"{tensor}_rounded_{len(self.rounded)}"
            self.rounded[tensor, grid] = self.floats(self.integers(tensor, grid), grid, output)
        return self.rounded[tensor, grid]

    def integers(self, tensor: str, grid: Grid) -> str:
        """The name of the tensor's 8-bit integers, made once."""
        if (tensor, grid) not in self.integer:
            name = f"{tensor}_on_{len(self.integer)}"
            self.add("QuantizeLinear", [tensor, *self.grid(grid)], name)
            self.integer[tensor, grid] = name
        return self.integer[tensor, grid]

    def floats(self, integers: str, grid: Grid, output: str) -> str:
        """`output`, the name of what 8-bit integers stand for."""
        return self.add("DequantizeLinear", [integers, *self.grid(grid)], output)

    def grid(self, grid: Grid) -> list[str]:
        """The names of its scale and zero point."""
        scale = self.constant(f"scale_{grid.scale!r}", np.float32(grid.scale))
        return [scale, self.constant(f"zero_{grid.zero_point}", np.uint8(grid.zero_point))]

    def stored(self, integers: str, scales: np.ndarray, kind: type) -> str:
        """The name of the floats that integers and a scale for each output channel stand for, made once."""
        floats = f"{integers}_floats"
        if floats not in self.made:
            zeros = np.zeros(len(scales), kind)
            constants = [self.constant(f"{integers}_{part}", one) for part, one in (("scale", scales), ("zero", zeros))]
            self.add("DequantizeLinear", [integers, *constants], floats, axis=0)
        return floats

    def dense(self, weight: str, shape: tuple[int, ...], groups: int, order: np.ndarray) -> str:
        """The name of a grouped convolution's weight as one of all channels, zeros elsewhere, rows in a new order.

        ONNX Runtime computes the one, three times the products, sooner than the three groups, and a shuffle behind it
        costs nothing. It puts the weight together when it loads the file, which holds what there was.
        """
        dense, (outputs, inputs) = f"{weight}_dense", shape[:2]
        if dense not in self.made:
            ends = np.arange(groups + 1) * (outputs // groups)
            parts = [f"{weight}_{group}" for group in range(groups)]
            for group, part in enumerate(parts):
                corners = [self.constant(f"row_{end}", np.array([end])) for end in ends[group : group + 2]]
                self.add("Slice", [weight, *corners, self.constant("rows", np.array([0]))], f"{part}_rows")
                margins = np.array([0, group * inputs, 0, 0, 0, (groups - 1 - group) * inputs, 0, 0])
                self.add(
                    "Pad", [f"{part}_rows", self.constant(f"margins_{'_'.join(map(str, margins))}", margins)], part
                )
            self.add("Concat", parts, f"{weight}_rows", axis=0)
            self.add("Gather", [f"{weight}_rows", self.constant(f"order_{len(order)}_{groups}", order)], dense, axis=0)
        return dense

    def add(self, kind: str, inputs: list[str], output: str, **attributes: int) -> str:
        """`output`, what an appended node gives."""
        self.made.add(output)
        self.graph.node.append(self.onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

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
