"""MDFlow's stage 1: a light network learns from raw video alone."""

from torch import Tensor

from mdflow.augment import Geometry, crop_only
from mdflow.config import AugmentConfig, PretrainConfig
from mdflow.data.batches import Batch, batches
from mdflow.data.sample import Dataset
from mdflow.examine import Examiner
from mdflow.geometry import resize_flow
from mdflow.imitation import imitation_loss
from mdflow.networks.network import FlowNetwork
from mdflow.rundir import RunFolder
from mdflow.training import fit
from mdflow.unsupervised import Crops, unsupervised_loss

SELF_RAMP = 0.1  # the share of the run over which the self-supervised term grows (UFlow, SMURF)


def pretrain_step(network: FlowNetwork, config: PretrainConfig, batch: Batch, progress: float) -> dict[str, Tensor]:
    """Photometric and smoothness terms on the clean crops; later also the network's own flow on augmented ones.

    The self-supervised term is ARFlow's (Liu et al., CVPR 2020): the flow of the clean pass, masked by its
    own occlusion, is the label of a second pass over the augmented pair.
    """
    crops, coloured, _ = cut_crops(batch, config.augment)
    flows12, flows21 = network.both_directions(crops.image1, crops.image2)
    terms, visible = unsupervised_loss(crops, flows12, flows21, config.loss, progress)
    ramp = min(max((progress - config.self_from) / SELF_RAMP, 0), 1)
    if config.self_weight and ramp:
        size = crops.image1.shape[-2:]
        labels = (resize_flow(flows12[-1].float(), size), resize_flow(flows21[-1].float(), size))
        own = imitation_loss(network, coloured, labels, visible, config.augment, config.self_loss)
        terms["self"] = ramp * config.self_weight * own
    return terms


def cut_crops(batch: Batch, config: AugmentConfig) -> tuple[Crops, tuple[Tensor, Tensor], Geometry]:
    """A random crop of the clean frames, the same crop of their coloured twins, and the geometry that cuts it."""
    frame1, frame2 = batch["image1"], batch["image2"]
    geometry = crop_only(len(frame1), frame1.shape[-2:], config, frame1.device)
    crops = Crops(geometry.image1(frame1), geometry.image2(frame2), frame1, frame2, geometry.to_source1[:, :2, 2])
    return crops, (geometry.image1(batch["coloured1"]), geometry.image2(batch["coloured2"])), geometry


def run(config: PretrainConfig, network: FlowNetwork, dataset: Dataset, held_out: Dataset, folder: RunFolder) -> None:
    """Train `network` in place on unlabelled pairs, judged on `held_out` by label-free scores."""
    fit(
        learner=network,
        step=lambda batch, progress: pretrain_step(network, config, batch, progress),
        stream=lambda start: batches(dataset, config, start, labels=False),
        examine=Examiner(held_out, config.score_pairs),
        config=config,
        steps=config.steps,
        folder=folder,
        stage="pretrain",
    )
