"""The local cost volume for an exported network, of floats or of 8-bit integers."""

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 16  # pixels of a row in one matrix product
ZERO = 128  # the 8-bit integer that stands for 0
LARGEST = 127  # on either side of it

Product = Callable[[Tensor, Tensor], Tensor]


def banded_correlation(
    features1: Tensor, features2: Tensor, radius: int, displacements: Sequence[tuple[int, int]]
) -> Tensor:
    """As mdflow.correlation.local_correlation, in operators that every runtime has.

    ONNX Runtime takes a quarter of the time of one shifted product a displacement, and the graph a third of the nodes.
    """
    return bands(features1 / features1.shape[1], features2, radius, displacements, torch.matmul, 0)


def banded_integer_correlation(
    features1: Tensor, features2: Tensor, radius: int, displacements: Sequence[tuple[int, int]]
) -> Tensor:
    """The same of `on_whole_steps` of both maps, in whole numbers of 8 bits: for an export alone.

    In ONNX Runtime two thirds of the time of floats, most of which goes by with moving tiles about.
    """
    whole1, whole2 = to_bytes(features1), to_bytes(features2)
    sums = bands(whole1, whole2, radius, displacements, product_of_bytes, ZERO)
    scale = step(features1) * step(features2) / features1.shape[1]
    return operator("DequantizeLinear", sums, scale, dtype=torch.float32, shape=sums.shape)


def on_whole_steps(features: Tensor) -> Tensor:
    """Features as whole numbers of steps, up to LARGEST on either side of 0; their gradient passes as if unrounded.

    Each item of a batch has a step of its own: a device sees one at a time.
    """
    found, size = features.detach(), torch.stack([step(one) for one in features]).view(-1, 1, 1, 1)
    return features + ((found / size).round() * size - found)


def step(features: Tensor) -> Tensor:
    """The step by which the value farthest from 0 is LARGEST steps away."""
    found = features.detach()
    return torch.maximum(found.max(), -found.min()).clamp(min=1e-12) / LARGEST


def to_bytes(features: Tensor) -> Tensor:
    """Whole numbers of steps as uint8, ZERO for 0."""
    return operator("QuantizeLinear", features, step(features), zero(), dtype=torch.uint8, shape=features.shape)


def product_of_bytes(one: Tensor, other: Tensor) -> Tensor:
    """The matrix product of what two uint8 tensors stand for, in int32."""
    shape = *one.shape[:-1], other.shape[-1]
    return operator("MatMulInteger", one, other, zero(), zero(), dtype=torch.int32, shape=shape)


def zero() -> Tensor:
    """ZERO, a constant of the exported network."""
    return torch.tensor(ZERO, dtype=torch.uint8)


def operator(name: str, *inputs: Tensor, dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    """One of ONNX's operators, for an export."""
    # An export of any size is traced by the compiler's front end, which takes this function in only if told to.
    symbolic = torch._dynamo.dont_skip_tracing(torch.onnx.ops.symbolic)
    return symbolic(name, inputs, dtype=dtype, shape=shape)


def bands(
    features1: Tensor,
    features2: Tensor,
    radius: int,
    displacements: Sequence[tuple[int, int]],
    product: Product,
    nothing: int,
) -> Tensor:
    """Sums over the channels of features1(x) · features2(x + d), (B,K,H,W): tiles of a row as matrix products.

    nothing: what stands for 0 in the features.
    """
    batch, channels, height, width = features1.shape
    breadth = TILE + 2 * radius
    tiles = (width + TILE - 1) // TILE  # no negative numbers: ONNX divides them towards zero
    missing, further = tiles * TILE - width, -(-2 * radius // TILE)  # tiles of which a window needs a part
    rows1 = F.pad(features1, (0, missing), value=nothing).permute(0, 2, 3, 1)
    rows1 = rows1.reshape(batch, height, tiles, TILE, channels)
    right = missing + further * TILE - radius  # with the border on the left these are whole tiles
    rows2 = F.pad(features2, (radius, right, radius, radius), value=nothing).permute(0, 2, 1, 3)
    rows2 = rows2.reshape(batch, height + 2 * radius, channels, tiles + further, TILE)
    # Whole tiles side by side: to gather single columns would take four times as long.
    parts = [rows2[..., k : k + tiles, : breadth - k * TILE] for k in range(further + 1)]
    windows = torch.cat(parts, dim=4).transpose(2, 3)
    costs = []
    for dy, wanted in groupby(displacements, key=lambda displacement: displacement[0]):
        columns = [dx + radius for _, dx in wanted]
        band = product(rows1, windows[:, radius + dy : radius + dy + height]).flatten(3)
        # Read with rows one place longer, each row of a band starts one place further on: diagonals become columns.
        diagonals = F.pad(band, (0, TILE)).reshape(batch, height, tiles, TILE, breadth + 1)
        chosen = choose(diagonals, columns)
        costs.append(chosen.reshape(batch, len(columns), height, tiles * TILE))
    return torch.cat(costs, dim=1)[..., :width]


def choose(diagonals: Tensor, columns: list[int]) -> Tensor:
    """The columns of the last dimension, brought to the second place."""
    first, last = min(columns), max(columns)
    span = diagonals[..., first : last + 1].permute(0, 4, 1, 2, 3)
    if columns == list(range(first, last + 1)):
        return span
    return span.index_select(1, torch.tensor([column - first for column in columns], device=span.device))
