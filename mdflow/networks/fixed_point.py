"""Fixed points x = f(x): solvers, gradients through them, and how contractive f is.

The solvers are those of deep equilibrium models (Bai et al., NeurIPS 2019): plain iteration, Anderson's
acceleration (regularised, as in their code) and Broyden's method. All items of a batch are solved at
once but apart: an item that has converged stays as it is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from mdflow.errors import InputError

Function = Callable[[Tensor], Tensor]
Iterates = Iterator[tuple[Tensor, Tensor]]

MEMORY = 6  # past states that Anderson's method combines
SECANTS = 20  # steps that Broyden's method learns from before it starts anew: its memory, too, is bounded
REGULARIZATION = 1e-4  # of the equations for its weights


@dataclass(frozen=True)
class Stop:
    """A solver ends after `steps`, or for an item whose change |f(x) − x| is below `tolerance`.

    `relative`: the change is measured in units of the state's norm.
    """

    steps: int
    tolerance: float = 0.0
    relative: bool = False


@dataclass(frozen=True)
class Solution:
    """The state found, those at the steps asked for, and for each item the change there and its step."""

    state: Tensor
    points: list[Tensor]
    change: Tensor
    step: Tensor


def solve(function: Function, start: Tensor, solver: str, stop: Stop, keep: Sequence[int] = ()) -> Solution:
    """Look for the fixed point of `function` from `start` (B,...); `keep`: steps whose state is wanted.

    The last state of plain iteration, else that of the smallest change. After convergence the kept
    states are the final one. No gradient is recorded; see `phantom_gradient` and `implicit_gradient`.
    """
    if solver not in SOLVERS:
        raise InputError(f"Unknown solver '{solver}'; choose from {', '.join(SOLVERS)}.")
    with torch.no_grad():
        best, points = start.flatten(1), []
        lowest = best.new_full(best.shape[:1], torch.inf)
        taken, active = torch.zeros_like(lowest, dtype=torch.long), torch.ones_like(lowest, dtype=torch.bool)
        iterates = SOLVERS[solver](lambda x: function(x.view_as(start)).flatten(1), best)
        for step, (state, change) in enumerate(islice(iterates, stop.steps), start=1):
            size = change.norm(dim=1)
            if stop.relative:
                size = size / (state.norm(dim=1) + 1e-8)
            better = active if solver == "naive" else active & (size < lowest)
            best = torch.where(better[:, None], state, best)
            lowest, taken = torch.where(better, size, lowest), torch.where(better, step, taken)
            if step in keep:
                points.append(best.view_as(start))
            active = active & (size >= stop.tolerance)
            if stop.tolerance and not active.any():
                break
        state = best.view_as(start)
        points += [state] * (len(keep) - len(points))
    return Solution(state, points, lowest, taken)


def naive(function: Function, start: Tensor) -> Iterates:
    """Plain iteration: each value and its difference from the state before."""
    state = start
    while True:
        value = function(state)
        yield value, value - state
        state = value


def anderson(function: Function, start: Tensor) -> Iterates:
    """Anderson's acceleration: the next state combines past values so that their changes cancel."""
    state, states, values = start, [], []
    while True:
        value = function(state)
        yield value, value - state
        states, values = [*states, state][-MEMORY:], [*values, value][-MEMORY:]
        changes = torch.stack(values, dim=1) - torch.stack(states, dim=1)
        gram = changes @ changes.transpose(1, 2)
        gram = gram + REGULARIZATION * torch.eye(len(values), dtype=gram.dtype, device=gram.device)
        weights = torch.linalg.solve(gram, gram.new_ones(gram.shape[:2]))
        weights = weights / weights.sum(dim=1, keepdim=True)
        state = torch.einsum("bn,bnd->bd", weights, torch.stack(values, dim=1))


def broyden(function: Function, start: Tensor) -> Iterates:
    """Broyden's "good" method on f(x) − x, whose inverse Jacobian −1 + Σ left ⊗ right it builds up."""
    state, change = start, function(start) - start
    left, right = [], []
    while True:
        if len(left) == SECANTS:
            left, right = [], []
        step = -apply_inverse(left, right, change)
        state = state + step
        new_change = function(state) - state
        yield state, new_change
        difference = new_change - change
        direction = apply_inverse(right, left, step)
        missed = step - apply_inverse(left, right, difference)
        scale = (direction * difference).sum(dim=1, keepdim=True)
        # An item that stands still divides zero by zero: it needs no correction.
        left.append(torch.nan_to_num(missed / scale, 0.0, 0.0, 0.0))
        right.append(direction)
        change = new_change


def apply_inverse(left: list[Tensor], right: list[Tensor], vector: Tensor) -> Tensor:
    """(−1 + Σ left ⊗ right) · vector, for each item."""
    result = -vector
    for a, b in zip(left, right, strict=True):
        result = result + a * (b * vector).sum(dim=1, keepdim=True)
    return result


SOLVERS: dict[str, Callable[[Function, Tensor], Iterates]] = {
    "naive": naive,
    "anderson": anderson,
    "broyden": broyden,
}


def phantom_gradient(function: Function, point: Tensor, steps: int, damping: float = 1.0) -> Tensor:
    """The point after `steps` more applications of `function`, through which alone the gradient flows.

    One step is the "1-step gradient"; k damped steps are the phantom gradient of Geng et al. (NeurIPS 2021).
    """
    state = point.detach()
    for _ in range(steps):
        state = torch.lerp(state, function(state), damping)
    return state


def implicit_gradient(function: Function, point: Tensor, solver: str, stop: Stop) -> Tensor:
    """The point after one more application, with the exact gradient of the fixed point as parameters change.

    The backward pass solves g = Jᵀg + gradient (Bai et al., 2019, theorem 1); its memory does not depend on
    the number of steps.
    """
    state = function(point.detach())
    copy = state.detach().requires_grad_()
    value = function(copy)

    def solve_adjoint(gradient: Tensor) -> Tensor:
        def adjoint(vector: Tensor) -> Tensor:
            return torch.autograd.grad(value, copy, vector, retain_graph=True)[0] + gradient

        return solve(adjoint, torch.zeros_like(gradient), solver, stop).state

    if state.requires_grad:
        state.register_hook(solve_adjoint)
    return state


def spectral_radius(function: Function, state: Tensor, iterations: int = 75) -> Tensor:
    """Size of the largest eigenvalue of f's Jacobian at `state`, (B,), by power iteration.

    Below 1 plain iteration converges near the state. It is the mean growth over the later half of the iterations: the
    leading eigenvalues of a recurrent cell may be a complex pair, which turns the vector as it grows.
    """
    with torch.enable_grad():
        point = state.detach().requires_grad_()
        value = function(point)
    vector, growths = torch.randn_like(point), []
    for _ in range(iterations):
        vector = vector / vector.flatten(1).norm(dim=1).view(-1, *[1] * (state.dim() - 1))
        vector = torch.autograd.grad(value, point, vector, retain_graph=True)[0]
        growths.append(vector.flatten(1).norm(dim=1))
    return torch.stack(growths[iterations // 2 :]).log().mean(dim=0).exp()
