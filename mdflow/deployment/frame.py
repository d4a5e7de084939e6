"""What surrounds a network in an ONNX file: images padded to its stride, its flow cropped back."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a deployment machine has no PyTorch
    from mdflow.fitting import Size

INPUTS = ("image1", "image2")
CORE_INPUTS, CORE_OUTPUT = ("frame_padded1", "frame_padded2"), "frame_flow"
WHITE = {"uint8": 255.0, "float": 1.0}  # what stands for 1 in images of a type

HEAD = """
<ir_version: 10, opset_import: ["": {opset}]>
mdflow ({kind}[1, 3, {height}, {width}] image1, {kind}[1, 3, {height}, {width}] image2)
    => (float[1, 2, {height}, {width}] flow)
"""
# As mdflow.fitting.pad. Mod has the sign of its second argument, as in Python: -size % stride.
PADDED = """
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
    frame_wide1 = Pad <mode = "edge"> (image1, frame_margins, , frame_axes)
    frame_wide2 = Pad <mode = "edge"> (image2, frame_margins, , frame_axes)
    frame_padded1 = {scale} (frame_wide1{by})
    frame_padded2 = {scale} (frame_wide2{by})
    frame_flow = Network (frame_padded1, frame_padded2)
    frame_end = Add (frame_before, frame_size)
    flow = Slice (frame_flow, frame_before, frame_end, frame_axes)
}}
"""
WHOLE = """
{{
    frame_unit = Constant <value_float = {unit}> ()
    frame_padded1 = {scale} (image1{by})
    frame_padded2 = {scale} (image2{by})
    frame_flow = Network (frame_padded1, frame_padded2)
    flow = Identity (frame_flow)
}}
"""


def put_in_frame(core, stride: int, size: "Size | None", kind: str):  # onnx is optional: no types
    """The model `core`, from CORE_INPUTS to CORE_OUTPUT, between scaling, padding and cropping back; in place.

    size: (height, width) of the images, None for any. kind: of their values, a key of WHITE.
    """
    import onnx.parser

    height, width = size or ("H", "W")
    whole = size is not None and not any(length % stride for length in size)
    # To bytes, a DequantizeLinear is a conversion and a product at one go.
    scale, by = ("DequantizeLinear", ", frame_unit") if kind == "uint8" else ("Identity", "")
    (opset,) = [one.version for one in core.opset_import if one.domain == ""]
    parts = {"height": height, "width": width, "stride": stride, "kind": kind, "unit": 1 / WHITE[kind], "opset": opset}
    text = (HEAD + (WHOLE if whole else PADDED)).format(**parts, scale=scale, by=by)
    frame = onnx.parser.parse_model(text).graph
    nodes = list(core.graph.node)
    del core.graph.node[:], core.graph.input[:], core.graph.output[:]
    for node in frame.node:
        core.graph.node.extend(nodes if node.op_type == "Network" else [node])
    core.graph.input.extend(frame.input)
    core.graph.output.extend(frame.output)
    return core
