"""DEQ-Flow (Bai et al., CVPR 2022): RAFT's or GMA's refinement run to its fixed point."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from mdflow.errors import InputError
from mdflow.networks.fixed_point import SOLVERS, Function, Stop, implicit_gradient, phantom_gradient, solve
from mdflow.networks.layers import check_choice
from mdflow.networks.network import Features, FlowNetwork
from mdflow.networks.raft import FACTOR, Refinement
from mdflow.networks.raft_correlation import CORRELATIONS, LEVELS
from mdflow.networks.raft_encoder import ResidualEncoder
from mdflow.networks.raft_update import MotionEncoder, UpdateBlock
from mdflow.networks.upsampling import ConvexUpsampling

GRADIENTS = ("phantom", "implicit")
ADJOINT = "broyden", Stop(steps=40, tolerance=1e-3)  # solver of the backward pass, as in the release


@dataclass(frozen=True)
class Size:
    """Channels of the hidden state and of the matching features; the motion encoder's relative to RAFT's."""

    hidden: int
    motion: float
    features: int = 256


SIZES = {
    "tiny": Size(32, 0.25, features=64),
    "base": Size(128, 1),
    "large": Size(192, 1.5),
    "huge": Size(256, 2),
    "gigantic": Size(384, 2.5),
}


@dataclass(frozen=True)
class Equilibrium:
    """What DEQFlow.solve found: flows, and the state (B,hidden+2,h,w) from which the next frame may start.

    `change` and `step` (B,): size of the state's last change and the solver's step at which it was found.
    """

    flows: list[Tensor]
    state: Tensor
    change: Tensor
    step: Tensor


class DEQFlow(FlowNetwork):
    """DEQ-Flow; `iterations`, `solver`, `tolerance` and `relative` say how its fixed point is looked for.

    `gma`: GMA's cell instead of RAFT's. `gradient`: "phantom" through `gradient_steps` more iterations,
    damped by `damping`, or the exact "implicit". `corrections`: how many states on the solver's way are
    decoded and supervised (section 3.3 of the paper). `flow_gradient`: let the gradient pass through the
    flow of the iteration before, which RAFT and the release cut. Where gradients are recorded, the states
    have `gradient_steps` iterations more than where they are not; memory never grows with `iterations`.
    """

    stride = FACTOR
    radius = 4
    align_corners = True

    def __init__(
        self,
        size: str = "base",
        iterations: int = 12,
        solver: str = "naive",
        tolerance: float = 1e-3,
        relative: bool = False,
        gma: bool = False,
        weight_norm: bool = True,
        gradient: str = "phantom",
        gradient_steps: int = 1,
        damping: float = 1.0,
        corrections: int = 1,
        flow_gradient: bool = False,
        context_norm: str = "batch",
        correlation: str = "fastest",
    ) -> None:
        super().__init__()
        for what, given, known in (
            ("size", size, SIZES),
            ("solver", solver, SOLVERS),
            ("gradient", gradient, GRADIENTS),
            ("correlation", correlation, CORRELATIONS),
        ):
            check_choice(what, given, known)
        if not 1 <= corrections <= iterations:
            raise InputError(f"Corrections are 1 to {iterations}, the number of iterations; got {corrections}.")
        self.solver, self.stop = solver, Stop(iterations, tolerance, relative)
        self.points = [(index + 1) * iterations // corrections for index in range(corrections)]
        self.gradient, self.gradient_steps, self.damping = gradient, gradient_steps, damping
        # The kernel for windows has no gradient of their places.
        correlation = "all_pairs" if flow_gradient and correlation == "fastest" else correlation
        self.flow_gradient, self.correlation = flow_gradient, correlation
        self.hidden = SIZES[size].hidden
        self.features = ResidualEncoder(SIZES[size].features, "instance")
        self.context = ResidualEncoder(self.hidden, context_norm)
        self.update = build_update(SIZES[size], gma)
        self.upsampling = ConvexUpsampling(self.hidden, FACTOR)
        if weight_norm:
            for module in list(self.update.modules()):
                if isinstance(module, nn.Conv2d):
                    parametrizations.weight_norm(module)

    def encode(self, image1: Tensor, image2: Tensor) -> tuple[Features, Features]:
        """Each image's matching features and the image itself, of which `solve` makes the context."""
        image1, image2 = 2 * image1 - 1, 2 * image2 - 1
        features1, features2 = self.features(torch.cat([image1, image2])).chunk(2)
        return [features1, image1], [features2, image2]

    def estimate(self, features1: Features, features2: Features) -> list[Tensor]:
        """A full-resolution flow for each of the `corrections`, the last at the fixed point."""
        return self.solve(features1, features2).flows

    def solve(self, features1: Features, features2: Features, start: Tensor | None = None) -> Equilibrium:
        """The refinement's fixed point, from `start`: the state of the video's previous pair, or zero."""
        function = self.dynamics(features1, features2)
        if start is None:
            batch, _, height, width = features1[0].shape
            # In float32 also under autocast: half precision would round 10 px to 0.04 px.
            start = features1[0].new_zeros(batch, self.hidden + 2, height, width, dtype=torch.float32)
        # A normalised weight is computed once for all steps; only without gradient may it be kept.
        with torch.no_grad(), parametrize.cached():
            found = solve(function, start, self.solver, self.stop, self.points)
        points = found.points
        if torch.is_grad_enabled():
            points = [self.differentiate(function, point) for point in points]
        flows = [self.upsampling(point[:, self.hidden :], point[:, : self.hidden]) for point in points]
        return Equilibrium(flows, found.state, found.change, found.step)

    def dynamics(self, features1: Features, features2: Features) -> Function:
        """The function of the state, hidden channels and flow, whose fixed point is the estimate."""
        context = F.relu(self.context(features1[1]))
        refine = Refinement(self, features1[0], features2[0], context, self.correlation, self.stop.steps)

        def function(state: Tensor) -> Tensor:
            hidden, flow = state.tensor_split([self.hidden], dim=1)
            flow = flow if self.flow_gradient else flow.detach()
            hidden, increment = refine(hidden, flow)
            return torch.cat([hidden, flow + increment], dim=1)

        return function

    def differentiate(self, function: Function, point: Tensor) -> Tensor:
        """The point with a gradient of the chosen kind."""
        if self.gradient == "implicit":
            return implicit_gradient(function, point, *ADJOINT)
        return phantom_gradient(function, point, self.gradient_steps, self.damping)


def build_update(size: Size, gma: bool) -> UpdateBlock:
    """The refinement of the given size: RAFT's layers, widened."""
    costs = LEVELS * (2 * DEQFlow.radius + 1) ** 2
    cost1, cost2, flow1, flow2, outputs, head = (round(size.motion * width) for width in (256, 192, 128, 64, 128, 256))
    motion = MotionEncoder(costs, (cost1, cost2), (flow1, flow2), outputs)
    return UpdateBlock(motion, size.hidden, size.hidden, [(1, 5), (5, 1)], head, aggregate=gma)
