"""The cost volume in integers: simulated, and as ONNX Runtime computes it."""

import numpy as np
import pytest
import torch

from mdflow.correlation import LocalCorrelation
from mdflow.deployment.export import OPSET
from mdflow.deployment.integer_correlation import IntegerCorrelation
from mdflow.kernels.banded_correlation import on_whole_steps

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CHOSEN = [(-2, 0), (-2, 2), (0, -1), (0, 0), (0, 1), (1, 2)]


def maps(height, width, channels=5):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, channels, height, width, generator=generator) for _ in range(2)]


def test_rounded_features_are_whole_steps_of_which_the_largest_is_127():
    features = torch.tensor([-1.27, 0.0, 0.004, 0.006, 1.0]).view(1, 1, 1, 5).requires_grad_()
    rounded = on_whole_steps(features)
    assert torch.allclose(rounded.flatten(), torch.tensor([-1.27, 0.0, 0.0, 0.01, 1.0]), atol=1e-6)
    rounded.sum().backward()
    assert torch.equal(features.grad, torch.ones(1, 1, 1, 5))
    assert not on_whole_steps(torch.zeros(1, 1, 1, 3)).any()


def test_the_steps_of_an_item_are_not_those_of_its_neighbours():
    one, two = maps(9, 20)
    both = torch.cat([one, 20 * two])
    assert torch.equal(on_whole_steps(both)[:1], on_whole_steps(one))


def test_the_costs_of_rounded_features_are_near_those_of_features():
    one, two = maps(9, 20)
    exact, rounded = (kind(2, CHOSEN)(one, two) for kind in (LocalCorrelation, IntegerCorrelation))
    error = (rounded - exact).abs().max()
    assert 0 < error < 0.03 * exact.abs().max()


@pytest.mark.parametrize("displacements", [None, CHOSEN])
@pytest.mark.parametrize("width", [16, 37])
def test_onnx_runtime_computes_what_is_simulated(tmp_path, width, displacements):
    correlation, path = IntegerCorrelation(2, displacements), tmp_path / "m.onnx"
    one, two = maps(6, width)
    torch.onnx.export(
        correlation, (one, two), path, input_names=["one", "two"], opset_version=OPSET, dynamo=True, verbose=False
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (costs,) = session.run(None, {"one": one.numpy(), "two": two.numpy()})
    assert np.abs(costs - correlation(one, two).numpy()).max() < 1e-5
    assert {"MatMulInteger"} == {
        node.op_type for node in onnx.load(path).graph.node if node.op_type.startswith("MatMul")
    }
