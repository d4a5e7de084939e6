"""Training with labels: a network's own published recipe, or the synthetic set's exact flow."""

from torch import nn

from mdflow.augment import draw_geometry, erase
from mdflow.config import SuperviseConfig
from mdflow.data.batches import Batch, batches
from mdflow.data.sample import Dataset
from mdflow.examine import Examiner
from mdflow.networks.network import FlowNetwork
from mdflow.runs.folder import RunFolder
from mdflow.training import fit
from mdflow.uncertainty import judged_loss


def supervised_step(network: FlowNetwork, config: SuperviseConfig, batch: Batch) -> dict:
    """The loss of the augmented batch against its labels, augmented alike."""
    if config.freeze_batch_norm:
        freeze_batch_norm(network)
    image1, image2 = batch["coloured1"], batch["coloured2"]
    geometry = draw_geometry(len(image1), image1.shape[-2:], config.augment, image1.device)
    target = geometry.flow12(batch["flow12"])
    weight = geometry.mask1(batch["valid1"])
    seen2 = erase(geometry.image2(image2), config.augment)
    return {"supervised": judged_loss(network, geometry.image1(image1), seen2, target, weight, config.loss)}


def freeze_batch_norm(network: nn.Module) -> None:
    """Let batch normalisation use its running statistics and leave them as they are, until network.train()."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def run(config: SuperviseConfig, network: FlowNetwork, dataset: Dataset, held_out: Dataset, folder: RunFolder) -> None:
    """Train `network` in place on `dataset`, judged on `held_out`, both with labels."""
    fit(
        learner=network,
        step=lambda batch, progress: supervised_step(network, config, batch),
        stream=lambda start: batches(dataset, config, start, labels=True),
        examine=Examiner(held_out, config.score_pairs, by_labels=True),
        config=config,
        steps=config.steps,
        folder=folder,
        stage="supervise",
    )
