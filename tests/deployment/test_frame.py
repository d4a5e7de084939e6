"""What surrounds a network in a file, around a core that says what it was given."""

import numpy as np
import pytest

from mdflow.deployment.frame import CORE_INPUTS, CORE_OUTPUT, put_in_frame
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.parser")
pytest.importorskip("onnxruntime")

STRIDE = 8
# Its "flow": red of the padded image 1, and everywhere the sum of that.
CORE = f"""
<ir_version: 10, opset_import: ["": 18]>
core (float[1, 3, h, w] {CORE_INPUTS[0]}, float[1, 3, h, w] {CORE_INPUTS[1]}) => (float[1, 2, h, w] {CORE_OUTPUT})
{{
    red = Constant <value_ints = [0]> ()
    first = Gather <axis = 1> ({CORE_INPUTS[0]}, red)
    sum = ReduceSum <keepdims = 0> (first)
    nothing = Sub (first, first)
    sums = Add (nothing, sum)
    {CORE_OUTPUT} = Concat <axis = 1> (first, sums)
}}
"""


def framed(path, size, kind="uint8"):
    model = put_in_frame(onnx.parser.parse_model(CORE), STRIDE, size, kind)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("kind", ["uint8", "float"])
@pytest.mark.parametrize("size", [(8, 16), (13, 30), (1, 9)])
def test_images_are_padded_to_the_stride_and_the_flow_is_cropped_back(tmp_path, size, kind):
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    flow = OnnxPredictor(framed(tmp_path / "m.onnx", size, kind))(*images)
    red = images[0, ..., 0] / 255
    missing = [-length % STRIDE for length in size]
    padded = np.pad(red, [(one // 2, one - one // 2) for one in missing], mode="edge")
    assert flow[..., 1] == pytest.approx(padded.sum(), rel=1e-5)
    assert np.abs(flow[..., 0] - red).max() < 1e-6


def test_a_file_for_any_size_takes_every_size(tmp_path):
    predictor = OnnxPredictor(framed(tmp_path / "m.onnx", None))
    assert predictor.size is None
    for size in ((8, 8), (9, 23)):
        images = np.full((2, *size, 3), 255, np.uint8)
        assert np.array_equal(predictor(*images)[..., 0], np.ones(size, np.float32))


def test_a_file_for_one_size_refuses_larger_images(tmp_path):
    with pytest.raises(InputError, match="takes images of up to 16x16"):
        OnnxPredictor(framed(tmp_path / "m.onnx", (16, 16)))(*np.zeros((2, 17, 16, 3), np.uint8))
