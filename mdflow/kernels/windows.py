"""RAFT's matching costs in windows, on a CPU, straight from the features: no cost of another pair is ever computed.

Faster than a look into the costs of all pairs, for memory in O(H·W). The kernels are in cpp/windows.cpp, those for a
matrix unit (AMX) in cpp/half_windows.cpp.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mdflow.errors import InputError
from mdflow.kernels.native import PIECE, asks_matrix_unit, call, channels_last, panel

WIDEST, TALLEST = 8, 7  # the largest radius, and that of the matrix unit's kernel
SQUARE, MARGIN = 4, 32  # pixels: of that kernel's squares of neighbours, and of zeros around a level

torch.library.define("mdflow::pack_windows", "(Tensor features1, Tensor[] levels) -> Tensor[]")
torch.library.define(
    "mdflow::windows", "(Tensor features1, Tensor[] levels, Tensor[] packed, Tensor points, int radius) -> Tensor"
)
torch.library.define(
    "mdflow::windows_gradients",
    "(Tensor gradient, Tensor features1, Tensor[] levels, Tensor points, int radius) -> Tensor[]",
)


def has_windows(features: Tensor, radius: int) -> bool:
    """Whether these can be had so for maps (B,C,h,w) like these. The points never have a gradient."""
    if torch.compiler.is_exporting() or features.device.type != "cpu":
        return False
    return features.shape[1] % PIECE == 0 and radius <= WIDEST and panel() is not None


def pack(features1: Tensor, levels: list[Tensor], radius: int) -> list[Tensor]:
    """Features that have `windows` as the matrix unit's kernel wants them; none where the other one is to be taken.

    That one is taken but for autocast to bfloat16.
    """
    return pack_windows(features1, levels) if asks_matrix_unit() and radius <= TALLEST else []


def pack_windows(features1: Tensor, levels: list[Tensor]) -> list[Tensor]:
    """Features (B,C,h,w) and levels (B,C,H,W) rounded to bfloat16, for a radius up to TALLEST.

    features1 in groups of neighbours, (B, rows, groups, those of two squares, C), zeros beyond; each level as
    (B, columns, pairs of channels, rows, 2), zeros around it.
    """
    return torch.ops.mdflow.pack_windows.default(features1.detach(), [level.detach() for level in levels])


@torch.library.impl("mdflow::pack_windows", "cpu")
def _pack(features1: Tensor, levels: list[Tensor]) -> list[Tensor]:
    packed = new_packed(features1, levels)
    for level, columns in zip(levels, packed[1:], strict=True):
        batch, channels, *sides = level.shape
        call("pack_columns", [channels_last(level.bfloat16()), columns.zero_()], [batch, *sides, channels])
    return packed


@torch.library.register_fake("mdflow::pack_windows")
def new_packed(features1: Tensor, levels: list[Tensor]) -> list[Tensor]:
    """Features in groups, and room for the levels."""
    return [in_groups(features1), *(new_columns(level) for level in levels)]


def in_groups(features1: Tensor) -> Tensor:
    """Features (B,C,h,w) rounded, in groups of neighbours."""
    last = features1.bfloat16().permute(0, 2, 3, 1)
    filled = F.pad(last, (0, 0, 0, -last.shape[2] % (2 * SQUARE), 0, -last.shape[1] % SQUARE))
    cut = filled.unflatten(2, (-1, 2, SQUARE)).unflatten(1, (-1, SQUARE))  # (B,rows,SQUARE,groups,2,SQUARE,C)
    return cut.permute(0, 1, 3, 4, 2, 5, 6).flatten(3, 5).contiguous()


def new_columns(level: Tensor) -> Tensor:
    """Room for the columns of a level (B,C,H,W)."""
    batch, channels, height, width = level.shape
    size = batch, width + 2 * MARGIN, channels // 2, height + 2 * MARGIN, 2
    return level.new_empty(size, dtype=torch.bfloat16)


def windows(
    features1: Tensor, levels: list[Tensor], points: Tensor, radius: int, packed: Sequence[Tensor] = ()
) -> Tensor:
    """Inner products (B,L·(2·radius+1)²,h,w) of features1 (B,C,h,w) with L levels (B,C,H,W).

    Bilinear values in windows around points (B,2,h,w), in pixels of the first level; each next one has half as many.
    Offsets down the columns first; zero outside. In float32, the channels last in memory. From what `pack` made of the
    features, if something: then the products are those of rounded features, but summed in float32 all the same.
    InputError if the shapes do not go together.
    """
    batch, channels, *sides = features1.shape
    if points.shape != (batch, 2, *sides) or any(level.shape[:2] != (batch, channels) for level in levels):
        shapes = [tuple(maps.shape) for maps in (features1, *levels, points)]
        raise InputError(f"Expected features (B,C,h,w), levels (B,C,H,W) and points (B,2,h,w), got {shapes}.")
    levels = [level.float() for level in levels]
    return torch.ops.mdflow.windows.default(features1.float(), levels, list(packed), points, radius)


@torch.library.impl("mdflow::windows", "cpu")
def _windows(features1: Tensor, levels: list[Tensor], packed: list[Tensor], points: Tensor, radius: int) -> Tensor:
    costs, points = new_costs(features1, levels, packed, points, radius), points.contiguous()
    function = "half_window_costs" if packed else "window_costs"
    queries, *maps = packed or [channels_last(maps) for maps in (features1, *levels)]
    for number, (level, pixels) in enumerate(zip(levels, maps, strict=True)):
        part = costs[:, number * (2 * radius + 1) ** 2 :]
        sizes = sizes_of(features1, level, radius, costs)
        call(function, [queries, pixels, points, part], sizes, 0.5**number)
    return costs


@torch.library.register_fake("mdflow::windows")
def new_costs(features1: Tensor, levels: list[Tensor], packed: list[Tensor], points: Tensor, radius: int) -> Tensor:
    """Room for the costs."""
    batch, _, height, width = features1.shape
    size = batch, len(levels) * (2 * radius + 1) ** 2, height, width
    return torch.empty(size, dtype=torch.float32, device=features1.device, memory_format=torch.channels_last)


@torch.library.impl("mdflow::windows_gradients", "cpu")
def _gradients(gradient: Tensor, features1: Tensor, levels: list[Tensor], points: Tensor, radius: int) -> list[Tensor]:
    found = [zeros.zero_() for zeros in new_gradients(gradient, features1, levels, points, radius)]
    gradient, features1, points = channels_last(gradient), channels_last(features1), points.contiguous()
    for number, level in enumerate(levels):
        part = gradient[:, number * (2 * radius + 1) ** 2 :]
        sizes = sizes_of(features1, level, radius, gradient)
        maps = [features1, channels_last(level), points, part, found[0], found[1 + number]]
        call("window_gradients", maps, sizes, 0.5**number)
    return found


@torch.library.register_fake("mdflow::windows_gradients")
def new_gradients(
    gradient: Tensor, features1: Tensor, levels: list[Tensor], points: Tensor, radius: int
) -> list[Tensor]:
    """Room for the gradients of features1 and of the levels."""
    return [torch.empty_like(maps, memory_format=torch.channels_last) for maps in (features1, *levels)]


def sizes_of(features1: Tensor, level: Tensor, radius: int, costs: Tensor) -> list[int]:
    """What the kernels are told of the maps."""
    batch, channels, height, width = features1.shape
    return [batch, height, width, *level.shape[2:], channels, radius, costs.shape[1]]


def remember(ctx, inputs: tuple, output: Tensor) -> None:
    """What the way back needs."""
    features1, levels, packed, points, ctx.radius = inputs
    ctx.packed = len(packed)
    ctx.save_for_backward(features1, points, *levels)


def back(ctx, gradient: Tensor) -> tuple[Tensor, list[Tensor], list[None], None, None]:
    """The gradients of the features; the points have none."""
    features1, points, *levels = ctx.saved_tensors
    found = torch.ops.mdflow.windows_gradients.default(gradient, features1, levels, points, ctx.radius)
    return found[0], found[1:], [None] * ctx.packed, None, None


torch.library.register_autograd("mdflow::windows", back, setup_context=remember)
