import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mdflow.deployment.integer import put_integers
from mdflow.deployment.quantize import IntegerConvolution
from mdflow.deployment.shuffles import take_out_shuffles

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


class Shuffled(nn.Module):
    """Grouped convolutions, each with a shuffle behind it, then a plain one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(12, 12, 3, padding=1, groups=3)
        self.second = nn.Conv2d(12, 12, 3, padding=1, groups=3)
        self.last = nn.Conv2d(12, 4, 3, padding=1)

    def forward(self, x):
        x = F.channel_shuffle(F.leaky_relu(self.first(x), 0.1), 3)
        return self.last(F.channel_shuffle(self.second(x), 3))


@pytest.fixture(scope="module")
def shuffled():
    """The network and its graph in ONNX."""
    network = Shuffled().eval()
    program = torch.onnx.export(network, (torch.zeros(1, 12, 8, 10),), dynamo=True, opset_version=18, verbose=False)
    return network, program.model_proto


def weights(*names: str) -> set[str]:
    return {f"{name}.weight" for name in names}


def kinds(model) -> list[str]:
    return [node.op_type for node in model.graph.node]


def copied(model):
    return onnx.ModelProto.FromString(model.SerializeToString())


def outputs(model, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    # A processor without VNNI cuts sums of two products off at 16 bits, which these weights reach.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def test_every_shuffle_is_taken_out_and_its_order_told(shuffled):
    model = copied(shuffled[1])
    orders = take_out_shuffles(model.graph, weights("first", "second"))
    assert "Transpose" not in kinds(model)
    expected = F.channel_shuffle(torch.arange(12.0).view(1, 12, 1, 1), 3).ravel().tolist()
    assert [order.tolist() for order in orders.values()] == [expected, expected]


def test_a_shuffle_behind_a_convolution_that_stays_as_it_is_stays_too(shuffled):
    model = copied(shuffled[1])
    assert len(take_out_shuffles(model.graph, weights("second"))) == 1
    assert kinds(model).count("Transpose") == 1


def test_a_shuffle_of_what_others_use_too_stays(shuffled):
    """Its convolution cannot give its channels in two orders."""
    model = copied(shuffled[1])
    nodes = model.graph.node
    place = next(place for place, node in enumerate(nodes) if "second.weight" in node.input)
    nodes.insert(place + 1, onnx.helper.make_node("Relu", nodes[place].output, ["used"]))
    assert len(take_out_shuffles(model.graph, weights("first", "second"))) == 1
    assert kinds(model).count("Transpose") == 1


def test_the_integers_of_a_shuffled_network_are_those_of_its_simulation(shuffled):
    network, model = shuffled
    x = torch.rand(1, 12, 8, 10, generator=torch.Generator().manual_seed(1)) - 0.3
    assert network(x).std() > 0.05  # other channels in a place would be far off
    layers = {name: IntegerConvolution(layer) for name, layer in network.named_children()}
    for layer in layers.values():
        layer.input_range.copy_(torch.tensor([-1.0, 1.0]))
        layer.output_range.copy_(torch.tensor([-1.0, 1.0]))
    simulated = Shuffled().eval()
    for name, layer in layers.items():
        setattr(simulated, name, layer)
    whole = copied(model)
    for one in whole.graph.initializer:
        one.name = f"network.{one.name}" if one.name.endswith(("weight", "bias")) else one.name
    for node in whole.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = f"network.{name}" if name.endswith(("weight", "bias")) else name
    integers = put_integers(whole, layers)
    assert "Transpose" not in kinds(integers)
    found = outputs(integers, x.numpy())
    with torch.no_grad():
        step = 2 / 255  # a value in the middle between two may fall to either
        assert np.abs(found - simulated(x).numpy()).mean() < step / 4
    stored = {one.name: one.dims for one in integers.graph.initializer}
    assert list(stored["first.weight8"]) == [12, 4, 3, 3]
