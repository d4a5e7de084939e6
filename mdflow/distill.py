"""MDFlow's stages 2 and 3: teacher and student teach each other over augmented video (Kong & Yang, TCSVT 2022)."""

from functools import partial

import torch
from torch import Tensor

from mdflow.confidence import reliable_mask
from mdflow.config import DistillConfig
from mdflow.data.batches import Batch, batches
from mdflow.data.previous import require_previous
from mdflow.data.sample import Dataset
from mdflow.examine import Examiner
from mdflow.imitation import imitation_loss, pseudo_labels
from mdflow.multi_frame import hidden_labels
from mdflow.networks.network import FlowNetwork
from mdflow.occlusion import visible_inside
from mdflow.pretrain import cut_coloured, cut_crops
from mdflow.runs.folder import RunFolder
from mdflow.training import fit
from mdflow.uncertainty import foretelling, sureness
from mdflow.unsupervised import unsupervised_loss


def teach_student(
    teacher: FlowNetwork, student: FlowNetwork, config: DistillConfig, batch: Batch, progress: float
) -> dict[str, Tensor]:
    """Stage 2: the student sees only augmented frames, and only the teacher's reliable labels.

    With config.multi_frame also labels of what the next frame hides, from the frame before (SMURF).
    """
    image1, image2 = batch["image1"], batch["image2"]
    flow12, flow21 = pseudo_labels(teacher, image1, image2)
    weight1 = reliable_mask(image1, image2, flow12, flow21, config.confidence)
    weight2 = reliable_mask(image2, image1, flow21, flow12, config.confidence)
    if config.multi_frame:
        visible1 = visible_inside(flow12, flow21)
        seen_before = hidden_labels(teacher, batch["image0"], image1, flow12, visible1, batch["known0"])
        flow12 = torch.where(seen_before[1] > 0, seen_before[0], flow12)
        weight1 = torch.maximum(weight1, config.multi_frame * seen_before[1])
    coloured = (batch["coloured1"], batch["coloured2"])
    loss = imitation_loss(student, coloured, (flow12, flow21), (weight1, weight2), config.augment, config.supervised)
    return {"supervised": loss}


def teach_teacher(
    student: FlowNetwork, teacher: FlowNetwork, config: DistillConfig, batch: Batch, progress: float
) -> dict[str, Tensor]:
    """Stage 3: the light network learns from the student's labels and, on the clean frames, without labels.

    The labels are masked by the light network's own current occlusion, and if asked for weighted by how sure the
    student is of them (U2Flow). The second term is the paper's multi-target learning: it is what gave its best result.
    """
    crops, window = cut_crops(batch, config.augment)
    labels12, labels21 = pseudo_labels(student, batch["image1"], batch["image2"])
    labels = (window.cut(labels12), window.cut(labels21))
    flows12, flows21 = teacher.both_directions(crops.image1, crops.image2)
    terms, weights = unsupervised_loss(crops, flows12, flows21, config.loss, progress)
    terms = {name: config.unsupervised * value for name, value in terms.items()} if config.unsupervised else {}
    if config.confidence.deviation is not None:
        sure1, sure2 = sureness(student, batch["image1"], batch["image2"], config.confidence.deviation)
        weights = (weights[0] * window.cut(sure1), weights[1] * window.cut(sure2))
    judged = config.supervised.model_copy(update={"uncertainty": 0.0})  # the student alone foretells its error
    coloured = cut_coloured(batch, window)
    supervised = imitation_loss(teacher, coloured, labels, weights, config.augment, judged)
    return terms | {"supervised": config.labels * supervised}


def run(
    config: DistillConfig,
    teacher: FlowNetwork,
    student: FlowNetwork,
    dataset: Dataset,
    held_out: Dataset,
    folder: RunFolder,
) -> None:
    """Let both networks learn in place, in turn, for `config.rounds` rounds; judged by label-free scores.

    InputError if config.multi_frame is set and no pair has a frame before it, or config.confidence.deviation and the
    student does not foretell its error.
    """
    if config.multi_frame:
        require_previous(dataset, "multi_frame")
    if config.confidence.deviation is not None:
        foretelling(student)
    examine = Examiner(held_out, config.score_pairs)
    student_steps, teacher_steps = config.turns()
    for number in range(1, config.rounds + 1):
        turns = [
            ("student", student, partial(teach_student, teacher, student, config), student_steps),
            ("teacher", teacher, partial(teach_teacher, student, teacher, config), teacher_steps),
        ]
        for place, (learner_name, learner, step, steps) in enumerate(turns):
            if steps == 0:
                continue
            shift = 1000 * (2 * number + place)  # no turn sees the batches of another again
            previous = learner is student and config.multi_frame > 0
            fit(
                learner=learner,
                step=step,
                stream=partial(batches, dataset, config, labels=False, shift=shift, previous=previous),
                examine=examine,
                config=config,
                steps=steps,
                folder=folder,
                stage=f"round{number}_{learner_name}",
            )
