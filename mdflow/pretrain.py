"""MDFlow's stage 1: a light network learns from raw video alone."""

import copy
import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mdflow.augment import Window, draw_window
from mdflow.config import AugmentConfig, PretrainConfig
from mdflow.data.batches import Batch, batches
from mdflow.data.sample import Dataset
from mdflow.examine import Examiner
from mdflow.geometry import inside_frame, resize_flow
from mdflow.imitation import Pair, imitation_loss, pseudo_labels
from mdflow.losses import endpoint_error, masked_mean
from mdflow.networks.network import FlowNetwork
from mdflow.occlusion import visible_inside
from mdflow.runs.folder import RunFolder
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
    own occlusion, is the label of a second pass over the augmented pair. `start`, a frozen network, anchors what is not
    visible, and labels what is.
    """
    crops, window = cut_crops(batch, config.augment)
    flows12, flows21 = network.both_directions(crops.image1, crops.image2)
    terms, visible = unsupervised_loss(crops, flows12, flows21, config.loss, progress)
    if start is not None:
        known, seen = known_flows(start, batch, window)
        flows = torch.cat([flows12[-1], flows21[-1]]).float()
        if config.anchor:
            terms["anchor"] = config.anchor * anchor_loss(known, crops, flows, visible)
        if config.labels:
            terms["labels"] = config.labels * label_loss(known, seen, flows)
    ramp = min(max((progress - config.self_from) / SELF_RAMP, 0), 1)
    if config.self_weight and ramp:
        size = crops.image1.shape[-2:]
        labels = (resize_flow(flows12[-1].float(), size), resize_flow(flows21[-1].float(), size))
        coloured = cut_coloured(batch, window)
        own = imitation_loss(network, coloured, labels, visible, config.augment, config.self_loss)
        terms["self"] = ramp * config.self_weight * own
    return terms


def known_flows(start: FlowNetwork, batch: Batch, window: Window) -> Pair:
    """A frozen network's flows of the whole frames, cut to the crops, and where they are visible; flow12 first.

    (2B,2,h,w) and (2B,1,h,w). With fine iterations and whole frames it knows more than the network that learns sees.
    """
    flow12, flow21 = pseudo_labels(start, batch["image1"], batch["image2"])
    visible1, visible2 = visible_inside(flow12, flow21), visible_inside(flow21, flow12)
    flows = torch.cat([window.cut(flow12), window.cut(flow21)])
    return flows, torch.cat([window.cut(visible1), window.cut(visible2)])


def anchor_loss(known: Tensor, crops: Crops, flows: Tensor, visible: Pair) -> Tensor:
    """Mean distance, in pixels, from the flow of the start where nothing visible says more, both directions.

    Where that flow leaves the frame no photometric term ever speaks, and smoothness alone makes a pixel as slow as its
    neighbours; a start that was taught with labels knows better. What is merely not visible counts less: it may be
    wrong and be mended yet. (Not in MDFlow, which starts from nothing.)
    """
    leaves = 1 - inside_frame(known, crops.frame1.shape[-2:], torch.cat([crops.origin, crops.origin]))
    weight = torch.maximum(leaves, HIDDEN * (1 - torch.cat(visible)))
    return masked_mean(endpoint_error(resize_flow(flows, known.shape[-2:]), known) * weight)


def label_loss(known: Tensor, seen: Tensor, flows: Tensor) -> Tensor:
    """Distance, in pixels, from the start's flow where that is visible, both ways; divided by all pixels.

    The teacher is the start itself, and the network learns to see in a crop what that sees in the whole frame by fine
    iterations. (Not in MDFlow, whose labels come from another network.)
    """
    return masked_mean(endpoint_error(resize_flow(flows, known.shape[-2:]), known) * seen)


def cut_crops(batch: Batch, config: AugmentConfig) -> tuple[Crops, Window]:
    """A random crop of the clean frames, and the window that cuts it."""
    frame1, frame2 = batch["image1"], batch["image2"]
    window = draw_window(frame1, config)
    origin = torch.tensor(window.corners, dtype=frame1.dtype, device=frame1.device)
    return Crops(window.cut(frame1), window.cut(frame2), frame1, frame2, origin), window


def cut_coloured(batch: Batch, window: Window) -> Pair:
    """The same crop of the coloured frames."""
    return window.cut(batch["coloured1"]), window.cut(batch["coloured2"])


def sees_itself_from(config: PretrainConfig) -> int:
    """The step from which on the network may be shown its own flow on coloured frames."""
    return math.floor(config.self_from * config.steps) if config.self_weight else config.steps


def run(config: PretrainConfig, network: FlowNetwork, dataset: Dataset, held_out: Dataset, folder: RunFolder) -> None:
    """Train `network` in place on unlabelled pairs, judged on `held_out` by label-free scores."""
    start = copy.deepcopy(network).eval() if config.anchor or config.labels else None
    fit(
        learner=network,
        step=lambda batch, progress: pretrain_step(network, config, batch, progress, start),
        stream=partial(batches, dataset, config, labels=False, coloured_from=sees_itself_from(config)),
        examine=Examiner(held_out, config.score_pairs),
        config=config,
        steps=config.steps,
        folder=folder,
        stage="pretrain",
    )
