"""Channel shuffles taken out of an ONNX graph: the convolution before gives its channels in their new places."""

from itertools import takewhile

import numpy as np

POINTWISE = {"LeakyRelu", "Relu"}
SHUFFLE = ["Reshape", "Transpose", "Reshape"]
AXES = [0, 2, 1, 3, 4]  # groups and their channels change places


def take_out_shuffles(graph, weights: set[str]) -> dict[str, np.ndarray]:
    """Remove every shuffle behind a convolution with such a weight, with nothing but an activation between, in place.

    Returns for each such convolution, by the name of its output, which of its channels has to come out in each place.
    """
    users: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    orders, removed = {}, []
    for node in [one for one in graph.node if one.op_type == "Conv" and one.input[1] in weights]:
        chain = alone_behind(node, users)
        pointwise = list(takewhile(lambda one: one.op_type in POINTWISE, chain))
        shuffle = chain[len(pointwise) : len(pointwise) + len(SHUFFLE)]
        if [one.op_type for one in shuffle] == SHUFFLE and list(shuffle[1].attribute[0].ints) == AXES:
            groups, channels = split(graph, shuffle[0].input[1])
            [node, *pointwise][-1].output[0] = shuffle[-1].output[0]
            orders[node.output[0]] = np.arange(groups * channels).reshape(groups, channels).T.ravel()
            removed += shuffle
    for node in removed:
        graph.node.remove(node)
    return orders


def alone_behind(node, users: dict[str, list]) -> list:
    """The few nodes that follow one another behind the node, each the only user of the one before."""
    chain = [node]
    while len(chain) < 6 and len(users.get(chain[-1].output[0], [])) == 1:
        chain += users[chain[-1].output[0]]
    return chain[1:]


def split(graph, shape: str) -> tuple[int, int]:
    """The groups and the channels of each in the (batch, groups, channels, height, width) that a Reshape is given.

    A constant, or put together from constants and, at the end, what only the images' size tells.
    """
    from onnx.numpy_helper import to_array

    constants = {one.name: one for one in graph.initializer}
    parts = [shape]
    if shape not in constants:
        parts = next(node.input for node in graph.node if shape in node.output)
    lengths = [length for part in parts[:3] for length in to_array(constants[part]).tolist()]
    return lengths[1], lengths[2]
