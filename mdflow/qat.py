"""Quantisation-aware training without labels: a float network teaches its own integer version."""

import torch
from torch import Tensor

from mdflow.augment import draw_window
from mdflow.config import QuantizeConfig
from mdflow.data.batches import Batch, batches
from mdflow.data.sample import Dataset
from mdflow.examine import Examiner
from mdflow.losses import supervised_loss
from mdflow.networks.network import FlowNetwork
from mdflow.pretrain import cut_coloured
from mdflow.runs.folder import RunFolder
from mdflow.training import fit


def qat_step(teacher: FlowNetwork, learner: FlowNetwork, config: QuantizeConfig, batch: Batch) -> dict[str, Tensor]:
    """Distance of the integer network's last flow from the float network's on the same coloured crops.

    Unlike a student, the learner is meant to become the teacher, errors included: it sees what the teacher sees. The
    coarser flows are not judged: the teacher's own are far from its last, and this distance would outweigh rounding.
    """
    images = cut_coloured(batch, draw_window(batch["coloured1"], config.augment))
    with torch.no_grad():
        target = teacher(*images, last_only=True)[-1].float()
    learner.eval()  # the grids were laid for the running statistics that the float network uses
    flow = learner(*images, last_only=True)[-1].float()
    return {"imitation": supervised_loss([flow], target, torch.ones_like(target[:, :1]), config.loss)}


def run(
    config: QuantizeConfig,
    teacher: FlowNetwork,
    learner: FlowNetwork,
    dataset: Dataset,
    held_out: Dataset,
    folder: RunFolder,
) -> None:
    """Train the quantised `learner` in place on unlabelled pairs, judged by label-free scores."""
    teacher.eval()
    fit(
        learner=learner,
        step=lambda batch, progress: qat_step(teacher, learner, config, batch),
        stream=lambda start: batches(dataset, config, start, labels=False),
        examine=Examiner(held_out, config.score_pairs),
        config=config,
        steps=config.steps,
        folder=folder,
        stage="qat",
    )
