"""The one training loop."""

import copy
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from mdflow.checkpoint import save_network
from mdflow.config import OptimiserConfig, RunConfig
from mdflow.data.batches import Batch
from mdflow.errors import InputError
from mdflow.examine import Examination
from mdflow.networks.network import FlowNetwork
from mdflow.rundir import RunFolder

LARGEST_BAD_ROW = 20  # steps with a loss that is not finite, one after the other, before the run stops
LOG_EVERY = 20

# One training step: the batch (images float32 in [0,1]) and the share of the steps done -> the loss terms by name.
Step = Callable[[Batch, float], dict[str, Tensor]]


Examine = Callable[[FlowNetwork], Examination]


def fit(
    learner: FlowNetwork,
    step: Step,
    stream: Callable[[int], Iterator[Batch]],
    examine: Examine,
    config: RunConfig,
    steps: int,
    folder: RunFolder,
    stage: str,
) -> None:
    """Train `learner` for `steps` steps; it leaves with the averaged weights (EMA).

    stream(start) gives the batches from a step on. A checkpoint of the same stage in the folder is resumed:
    with the same config it ends with the same weights as a run that was never stopped.
    A step whose loss or gradient is not finite changes nothing; many in a row raise InputError.
    """
    device = pick_device(config.device)
    optimiser = torch.optim.AdamW(
        [parameter for parameter in learner.parameters() if parameter.requires_grad],
        lr=config.optimiser.learning_rate,
        weight_decay=config.optimiser.weight_decay,
    )
    average = Average(learner, config.optimiser.ema)
    state = Progress(learner, average, optimiser, folder, stage)
    start = state.resume()
    learner.train()
    bad = 0
    batches = stream(start)
    with tqdm(total=steps, initial=start, desc=stage, mininterval=1) as bar:
        for number in range(start, steps):
            batch = to_device(next(batches), device)  # before the seed: a loader that starts draws a number
            torch.manual_seed(config.seed * 1_000_003 + number)
            set_rate(optimiser, config.optimiser, number, steps)
            with precision(config, device):
                terms = step(batch, number / steps)
            if not terms:
                raise InputError("Nothing to learn from: every term of the loss has the weight 0; give one a weight.")
            loss = sum(terms.values())
            bad = 0 if update(learner, loss, optimiser, config.optimiser.clip) else bad + 1
            if not bad:
                average.update(learner, number)
            elif bad >= LARGEST_BAD_ROW:
                raise InputError(
                    f"The loss was not finite for {bad} steps in a row; the last good weights are in {folder.path}."
                )
            bar.update()
            if number % LOG_EVERY == 0 or number + 1 == steps:
                bar.set_postfix(loss=f"{float(loss.detach()):.3f}")
                folder.log(stage, number, {name: float(value.detach()) for name, value in terms.items()})
            finished = number + 1
            if finished % config.score_every == 0 or finished == steps:
                state.judge(examine, finished, picture=finished % config.panel_every == 0 or finished == steps)
            if finished % config.checkpoint_every == 0 or finished == steps:
                state.save(finished)
    learner.load_state_dict(average.network.state_dict())
    learner.eval()


class Average:
    """The exponential moving average of a network's weights, as a network in evaluation mode.

    It forgets the untrained start: the decay grows as (1 + n)/(10 + n) up to `decay`.
    """

    def __init__(self, learner: FlowNetwork, decay: float) -> None:
        self.network, self.decay = copy.deepcopy(learner).eval().requires_grad_(False), decay

    @torch.no_grad()
    def update(self, learner: FlowNetwork, number: int) -> None:
        """Move towards the learner after step `number`."""
        share = 1 - min(self.decay, (1 + number) / (10 + number))
        current = learner.state_dict()
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], share)
            else:
                value.copy_(current[name])


class Progress:
    """What a stopped run needs to go on: weights, their average, the optimiser, the best score."""

    def __init__(
        self,
        learner: FlowNetwork,
        average: Average,
        optimiser: torch.optim.Optimizer,
        folder: RunFolder,
        stage: str,
    ) -> None:
        self.learner, self.average, self.optimiser = learner, average, optimiser
        self.folder, self.stage, self.best = folder, stage, math.inf

    def resume(self) -> int:
        """Load the stage's last checkpoint, if there is one; the number of steps it had done."""
        state = self.folder.restore(f"last_{self.stage}")
        if state is None:
            return 0
        self.learner.load_state_dict(state["learner"])
        self.average.network.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.best = state["best"]
        return state["step"]

    def save(self, step: int) -> None:
        """Write the stage's last checkpoint."""
        self.folder.save(
            {
                "step": step,
                "learner": self.learner.state_dict(),
                "average": self.average.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "best": self.best,
            },
            f"last_{self.stage}",
        )

    def judge(self, examine: Examine, step: int, picture: bool) -> None:
        """Examine the averaged network; keep it if it is the best so far."""
        with torch.no_grad():
            result = examine(self.average.network)
        self.folder.log(f"{self.stage}/held-out", step, result.figures)
        if picture:
            self.folder.picture(self.stage, step, result.panel)
        if result.score < self.best:
            self.best = result.score
            save_network(self.folder.path / "checkpoints" / f"best_{self.stage}.safetensors", self.average.network)


def update(learner: FlowNetwork, loss: Tensor, optimiser: torch.optim.Optimizer, clip: float) -> bool:
    """One step of the optimiser, gradients clipped to the norm; False, and no step, if loss or norm is not finite."""
    if not torch.isfinite(loss):
        return False
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), clip)
    if not torch.isfinite(norm):
        return False
    optimiser.step()
    return True


def set_rate(optimiser: torch.optim.Optimizer, config: OptimiserConfig, number: int, steps: int) -> None:
    """Linear warm-up, constant, linear decay to `final` of the rate."""
    done = (number + 1) / steps
    factor = 1.0
    if done < config.warm_up:
        factor = done / config.warm_up
    elif done > config.constant:
        factor = 1 - (1 - config.final) * (done - config.constant) / max(1 - config.constant, 1e-9)
    for group in optimiser.param_groups:
        group["lr"] = config.learning_rate * factor


def pick_device(name: str) -> torch.device:
    """The device; "auto" is the GPU if there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"The device '{name}' cannot be used here; try cpu, cuda or auto.") from error
    return device


def precision(config: RunConfig, device: torch.device) -> torch.autocast:
    """Mixed precision: bfloat16 where it is asked for, or by default on a GPU."""
    mixed = config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device, images in [0,1]."""
    moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
    return {name: value.float() / 255 if value.dtype == torch.uint8 else value for name, value in moved.items()}
