"""The local cost volume for an exported network."""

import torch
import torch.nn.functional as F
from torch import Tensor

TILE = 16  # pixels of a row in one matrix product


def banded_correlation(features1: Tensor, features2: Tensor, radius: int) -> Tensor:
    """Tiles of a row as matrix products, in operators that every runtime has.

    ONNX Runtime takes a quarter of the time of one shifted product a displacement, and the graph a third of the nodes.
    """
    batch, channels, height, width = features1.shape
    side, breadth = 2 * radius + 1, TILE + 2 * radius
    tiles = (width + TILE - 1) // TILE  # no negative numbers: ONNX divides them towards zero
    missing, further = tiles * TILE - width, -(-2 * radius // TILE)  # tiles of which a window needs a part
    rows1 = (F.pad(features1, (0, missing)) / channels).permute(0, 2, 3, 1)
    rows1 = rows1.reshape(batch, height, tiles, TILE, channels)
    right = missing + further * TILE - radius  # with the border on the left these are whole tiles
    rows2 = F.pad(features2, (radius, right, radius, radius)).permute(0, 2, 1, 3)
    rows2 = rows2.reshape(batch, height + 2 * radius, channels, tiles + further, TILE)
    # Whole tiles side by side: to gather single columns would take four times as long.
    parts = [rows2[..., k : k + tiles, : breadth - k * TILE] for k in range(further + 1)]
    windows = torch.cat(parts, dim=4).transpose(2, 3)
    bands = [(rows1 @ windows[:, dy : dy + height]).flatten(3) for dy in range(side)]
    # Read with rows one place longer, each row of a band starts one place further on: diagonals become columns.
    diagonals = [F.pad(band, (0, TILE)).reshape(batch, height, tiles, TILE, breadth + 1)[..., :side] for band in bands]
    cost = torch.stack(diagonals, dim=1).permute(0, 1, 5, 2, 3, 4)
    return cost.reshape(batch, side * side, height, tiles * TILE)[..., :width]
