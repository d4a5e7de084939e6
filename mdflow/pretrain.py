"""MDFlow's stage 1: a light network learns from raw video alone."""

import copy
from typing import Any

import torch
from torch import Tensor

from mdflow.augment import Geometry, crop_only
from mdflow.config import AugmentConfig, PretrainConfig
from mdflow.data.batches import Batch, batches
from mdflow.data.sample import Dataset
from mdflow.examine import Examiner
from mdflow.geometry import inside_frame, resize_flow
from mdflow.imitation import Pair, imitation_loss, pseudo_labels
from mdflow.losses import endpoint_error, masked_mean
from mdflow.networks.network import FlowNetwork
from mdflow.occlusion import visible_inside
from mdflow.rundir import RunFolder
from mdflow.scales import AtScales
from mdflow.training import fit
from mdflow.unsupervised import Crops, unsupervised_loss

HIDDEN = 0.2  # how much the anchor holds what is not visible, against what leaves the frame
SELF_RAMP = 0.1  # the share of the run over which the self-supervised term grows (UFlow, SMURF)


def trained_start() -> dict[str, Any]:
    """Settings of a pretraining that starts from trained weights, in place of PretrainConfig's.

    Neither reduced frames nor a warm-up without occlusion, small steps, an anchor, and labels by the start
    itself (docs/adapt.md).
    """
    return {
        "loss": {"reduced": (), "mask_from": 0.0, "forward_backward_from": 0.0},
        "optimiser": {"learning_rate": 1e-4},
        "anchor": 1.0,
        "labels": 0.2,
    }


def pretrain_step(
    network: FlowNetwork, config: PretrainConfig, batch: Batch, progress: float, start: FlowNetwork | None = None
) -> dict[str, Tensor]:
    """Photometric and smoothness terms on the clean crops; later also the network's own flow on augmented ones.

    The self-supervised term is ARFlow's (Liu et al., CVPR 2020): the flow of the clean pass, masked by its
    own occlusion, is the label of a second pass over the augmented pair. `start` anchors what is not visible, and
    labels what is.
    """
    crops, coloured, geometry = cut_crops(batch, config.augment)
    flows12, flows21 = network.both_directions(crops.image1, crops.image2)
    terms, visible = unsupervised_loss(crops, flows12, flows21, config.loss, progress)
    if config.anchor and start is not None:
        terms["anchor"] = config.anchor * anchor_loss(start, crops, (flows12[-1], flows21[-1]), visible)
    if config.labels and start is not None:
        teacher = AtScales(start, config.label_scales)
        terms["labels"] = config.labels * label_loss(teacher, batch, geometry, (flows12[-1], flows21[-1]))
    ramp = min(max((progress - config.self_from) / SELF_RAMP, 0), 1)
    if config.self_weight and ramp:
        size = crops.image1.shape[-2:]
        labels = (resize_flow(flows12[-1].float(), size), resize_flow(flows21[-1].float(), size))
        own = imitation_loss(network, coloured, labels, visible, config.augment, config.self_loss)
        terms["self"] = ramp * config.self_weight * own
    return terms


def anchor_loss(start: FlowNetwork, crops: Crops, flows: Pair, visible: Pair) -> Tensor:
    """Mean distance, in pixels, from the flow of the start where nothing visible says more, both directions.

    Where that flow leaves the frame no photometric term ever speaks, and smoothness alone makes a pixel as slow as its
    neighbours; a start that was taught with labels knows better. What is merely not visible counts less: it may be
    wrong and be mended yet. (Not in MDFlow, which starts from nothing.)
    """
    with torch.no_grad():
        known = start.both_directions(crops.image1, crops.image2, last_only=True)
    known = torch.cat([found[-1].float() for found in known])
    leaves = 1 - inside_frame(known, crops.frame1.shape[-2:], torch.cat([crops.origin, crops.origin]))
    weight = torch.maximum(leaves, HIDDEN * (1 - torch.cat(visible)))
    flow = resize_flow(torch.cat(flows).float(), crops.image1.shape[-2:])
    return masked_mean(endpoint_error(flow, known) * weight)


def label_loss(teacher: FlowNetwork, batch: Batch, geometry: Geometry, flows: Pair) -> Tensor:
    """Mean distance, in pixels, from a frozen network's flow of the whole frames where that is visible, both ways.

    The teacher is the start itself: looking at the frames in several sizes it knows more than in one, and the
    network learns to see that in one. (Not in MDFlow, whose labels come from another network.)
    """
    label12, label21 = pseudo_labels(teacher, batch["image1"], batch["image2"])
    visible1 = visible_inside(label12, label21)
    visible2 = visible_inside(label21, label12)
    labels = torch.cat([geometry.image1(label12), geometry.image2(label21)])
    weight = torch.cat([geometry.image1(visible1), geometry.image2(visible2)])
    flow = resize_flow(torch.cat(flows).float(), labels.shape[-2:])
    return masked_mean(endpoint_error(flow, labels) * weight)


def cut_crops(batch: Batch, config: AugmentConfig) -> tuple[Crops, tuple[Tensor, Tensor], Geometry]:
    """A random crop of the clean frames, the same crop of their coloured twins, and the geometry that cuts it."""
    frame1, frame2 = batch["image1"], batch["image2"]
    geometry = crop_only(len(frame1), frame1.shape[-2:], config, frame1.device)
    crops = Crops(geometry.image1(frame1), geometry.image2(frame2), frame1, frame2, geometry.to_source1[:, :2, 2])
    return crops, (geometry.image1(batch["coloured1"]), geometry.image2(batch["coloured2"])), geometry


def run(config: PretrainConfig, network: FlowNetwork, dataset: Dataset, held_out: Dataset, folder: RunFolder) -> None:
    """Train `network` in place on unlabelled pairs, judged on `held_out` by label-free scores."""
    start = copy.deepcopy(network).eval() if config.anchor or config.labels else None
    fit(
        learner=network,
        step=lambda batch, progress: pretrain_step(network, config, batch, progress, start),
        stream=lambda start: batches(dataset, config, start, labels=False),
        examine=Examiner(held_out, config.score_pairs),
        config=config,
        steps=config.steps,
        folder=folder,
        stage="pretrain",
    )
