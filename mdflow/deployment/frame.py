"""What surrounds a network in an ONNX file: images padded to its stride, its flow cropped back."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a deployment machine has no PyTorch
    from mdflow.fitting import Size

INPUTS = ("image1", "image2")
CORE_INPUTS, CORE_OUTPUT = ("frame_padded1", "frame_padded2"), "frame_flow"
WHITE = {"uint8": 255.0, "float": 1.0}  # what stands for 1 in images of a type

# As mdflow.fitting.pad. Mod has the sign of its second argument, as in Python: -size % stride.
FRAME = """
<ir_version: 10, opset_import: ["": {opset}]>
mdflow ({kind}[1, 3, {height}, {width}] image1, {kind}[1, 3, {height}, {width}] image2)
    => (float[1, 2, {height}, {width}] flow)
{{
    frame_size = Shape <start = 2> (image1)
    frame_negative = Neg (frame_size)
    frame_stride = Constant <value_ints = [{stride}, {stride}]> ()
    frame_missing = Mod (frame_negative, frame_stride)
    frame_two = Constant <value_int = 2> ()
    frame_before = Div (frame_missing, frame_two)
    frame_after = Sub (frame_missing, frame_before)
    frame_margins = Concat <axis = 0> (frame_before, frame_after)
    frame_axes = Constant <value_ints = [2, 3]> ()
    frame_unit = Constant <value_float = {unit}> ()
    frame_floats1 = Cast <to = 1> (image1)
    frame_scaled1 = Mul (frame_floats1, frame_unit)
    frame_padded1 = Pad <mode = "edge"> (frame_scaled1, frame_margins, , frame_axes)
    frame_floats2 = Cast <to = 1> (image2)
    frame_scaled2 = Mul (frame_floats2, frame_unit)
    frame_padded2 = Pad <mode = "edge"> (frame_scaled2, frame_margins, , frame_axes)
    frame_flow = Network (frame_padded1, frame_padded2)
    frame_end = Add (frame_before, frame_size)
    flow = Slice (frame_flow, frame_before, frame_end, frame_axes)
}}
"""


def put_in_frame(core, stride: int, size: "Size | None", kind: str):  # onnx is optional: no types
    """The model `core`, from CORE_INPUTS to CORE_OUTPUT, within FRAME; in place.

    size: (height, width) of the images, None for any. kind: of their values, a key of WHITE.
    """
    import onnx.parser

    height, width = size or ("H", "W")
    (opset,) = [one.version for one in core.opset_import if one.domain == ""]
    text = FRAME.format(height=height, width=width, stride=stride, kind=kind, unit=1 / WHITE[kind], opset=opset)
    frame = onnx.parser.parse_model(text).graph
    nodes = list(core.graph.node)
    del core.graph.node[:], core.graph.input[:], core.graph.output[:]
    for node in frame.node:
        core.graph.node.extend(nodes if node.op_type == "Network" else [node])
    core.graph.input.extend(frame.input)
    core.graph.output.extend(frame.output)
    return core
