"""The one training loop."""

import copy
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mdflow.config import OptimiserConfig, RunConfig
from mdflow.data.batches import Batch
from mdflow.errors import InputError
from mdflow.examine import Examination
from mdflow.networks.network import FlowNetwork
from mdflow.runs.folder import RunFolder
from mdflow.runs.watch import Watch
from mdflow.system import ranks
from mdflow.system.processor import require_bfloat16
from mdflow.system.stopping import Stopped, stop_signal

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
    A step whose loss or gradient is not finite changes nothing; many in a row raise InputError. SIGTERM or Ctrl+C
    saves after the step at hand and raises mdflow.system.stopping.Stopped.
    """
    device = pick_device(config.device)
    optimiser = make_optimiser(learner, config.optimiser)
    average = Average(learner, config.optimiser.ema)
    state = Progress(learner, average, optimiser, folder, stage)
    watch = Watch(folder, stage, steps)
    start = state.resume()
    learner.train()
    batches = stream(start)
    bar = tqdm(total=steps, initial=start, desc=stage, disable=not folder.writes)
    with stop_signal() as asked_to_stop, same_bits(config.deterministic), bar, logging_redirect_tqdm():
        for number in range(start, steps):
            batch = to_device(next(batches), device)  # before the seed: a loader that starts draws a number
            torch.manual_seed(config.seed * 1_000_003 + number)
            set_rate(optimiser, config.optimiser, number, steps)
            statistics = [(buffer, buffer.clone()) for buffer in learner.buffers()]
            with precision(config, device):
                terms = step(batch, number / steps)
            good = update(learner, total(terms), optimiser, config.optimiser.clip)
            if good:
                average.update(learner, number)
            else:
                put_back(statistics)
            watch.step(number, good, batch, average.network)
            finished, last = number + 1, number + 1 == steps
            bar.update()
            if number % LOG_EVERY == 0 or last:
                report(bar, folder, stage, number, terms)
            if finished % config.score_every == 0 or last:
                figures = state.judge(examine, finished, picture=finished % config.panel_every == 0 or last)
                watch.examined(finished, figures)
            stopping = ranks.any_of(asked_to_stop())
            if finished % config.checkpoint_every == 0 or last or stopping:
                state.save(finished)
            if stopping:
                raise Stopped(f"Stopped after step {finished} of {steps} of {stage}, and saved in '{folder.path}'.")
    learner.load_state_dict(average.network.state_dict())
    learner.eval()


def make_optimiser(learner: FlowNetwork, config: OptimiserConfig) -> torch.optim.Optimizer:
    """AdamW, or Adam if not config.decoupled, for what of the network learns."""
    learning = {name: parameter for name, parameter in learner.named_parameters() if parameter.requires_grad}
    free = [name for name in learning if name.endswith("bias") and not config.decay_biases]
    groups = [{"params": [parameter for name, parameter in learning.items() if name not in free]}]
    if free:
        groups.append({"params": [learning[name] for name in free], "weight_decay": 0.0})
    kind = torch.optim.AdamW if config.decoupled else torch.optim.Adam
    # Fused: one pass over each weight in place of eight.
    return kind(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def total(terms: dict[str, Tensor]) -> Tensor:
    """The sum of the terms; InputError if there are none."""
    if not terms:
        raise InputError("Nothing to learn from: every term of the loss has the weight 0; give one a weight.")
    return sum(terms.values())


def report(bar: tqdm, folder: RunFolder, stage: str, number: int, terms: dict[str, Tensor]) -> None:
    """The terms of a step to the log, their sum to the progress bar."""
    figures = {name: float(ranks.mean(value.detach())) for name, value in terms.items()}
    bar.set_postfix(loss=f"{sum(figures.values()):.3f}", refresh=False)
    folder.log(stage, number, figures)


@contextmanager
def same_bits(wanted: bool) -> Iterator[None]:
    """Within, torch takes only operations that give the same bits again, and warns of those that have no such form."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


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
        step = 0 if state is None else self.load(state)
        self.folder.forget(self.stage, step)
        return step

    def load(self, state: dict[str, Any]) -> int:
        """Take over a checkpoint; its step. Raises InputError if it is none of this network."""
        try:
            self.learner.load_state_dict(state["learner"])
            self.average.network.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.best, step = state["best"], state["step"]
        except (KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            raise InputError(
                f"The checkpoint of {self.stage} in '{self.folder.path}' does not fit this network: "
                f"{' '.join(str(error).split())[:200]}; use --overwrite to start anew."
            ) from error
        return step

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

    def judge(self, examine: Examine, step: int, picture: bool) -> dict[str, float]:
        """Examine the averaged network, and keep it if it is the best so far; its figures."""
        with torch.no_grad():
            result = examine(self.average.network)
        self.folder.log(f"{self.stage}/held-out", step, result.figures)
        if picture:
            self.folder.picture(self.stage, step, result.panel)
        if result.score < self.best:
            self.best = result.score
            self.folder.save_network(f"checkpoints/best_{self.stage}", self.average.network)
        return result.figures


def update(learner: FlowNetwork, loss: Tensor, optimiser: torch.optim.Optimizer, clip: float) -> bool:
    """One step of the optimiser, gradients clipped to the norm; False, and no step, if loss or norm is not finite.

    Of several ranks all take the same step, by the mean of their gradients, or none does.
    """
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    ranks.average_gradients(learner)
    norm = torch.nn.utils.clip_grad_norm_(learner.parameters(), clip)
    if not torch.isfinite(norm + ranks.mean(loss.detach())):
        return False
    optimiser.step()
    return True


def put_back(statistics: list[tuple[Tensor, Tensor]]) -> None:
    """Give buffers, such as batch normalisation's statistics, the values that they had before a step."""
    for buffer, value in statistics:
        buffer.copy_(value)


def set_rate(optimiser: torch.optim.Optimizer, config: OptimiserConfig, number: int, steps: int) -> None:
    """Linear warm-up, constant, linear decay to `final` of the rate; halved at each of `halve_at`."""
    done = (number + 1) / steps
    factor = 1.0
    if done < config.warm_up:
        factor = done / config.warm_up
    elif done > config.constant:
        factor = 1 - (1 - config.final) * (done - config.constant) / max(1 - config.constant, 1e-9)
    factor *= 0.5 ** sum(done > share for share in config.halve_at)
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
        usable = "cpu, cuda or auto" if torch.cuda.is_available() else "cpu or auto"
        raise InputError(f"The device '{name}' cannot be used here; try {usable}.") from error
    return device


def precision(config: RunConfig, device: torch.device) -> torch.autocast:
    """Mixed precision: bfloat16 where it is asked for, or by default on a GPU; InputError where there is none."""
    mixed = config.precision == "bfloat16" or (config.precision == "auto" and device.type == "cuda")
    if mixed:
        require_bfloat16(device)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on the device, images in [0,1]."""
    moved = {name: value.to(device, non_blocking=True) for name, value in batch.items()}
    return {name: value.float().div_(255) if value.dtype == torch.uint8 else value for name, value in moved.items()}
