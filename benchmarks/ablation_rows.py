"""The rows of the ablation: who learns, in which way, and what differs from the defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NO_COLOUR = {"augment.colour": 0.0}
NO_ERASER = {"augment.eraser": 0.0}
NO_GEOMETRY = {
    "augment.flip_horizontal": 0.0,
    "augment.flip_vertical": 0.0,
    "augment.zoom": [0.0, 0.0],
    "augment.stretch": 0.0,
    "augment.rotation": 0.0,
}
FORETELL = {"supervised.uncertainty": 0.005}


@dataclass(frozen=True)
class Row:
    """A line of the table: who learns, in which way, and what differs from the defaults.

    turns: of which its steps are made, in equal parts; "pretrain" (the network alone), "alone" (the student alone,
    without labels too), "student" (taught by the network), "network" (taught by the student). The one that learns last
    is judged.
    """

    name: str
    turns: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)


STUDENT, BOTH, ALONE = ("student",), ("student", "network"), ("pretrain", "alone")
ROWS = (
    Row("1 network: unsupervised only", ("pretrain",)),
    Row("1 network: the same, smooth across weak edges", ("pretrain",), {"loss.edge": 20.0}),
    Row("1 network: the same, in reduced frames too", ("pretrain",), {"loss.reduced": [2, 4, 8]}),
    Row("1 network: anchored to its start where nothing is visible", ("pretrain",), {"anchor": 1.0}),
    Row("2 network: and its own flow, augmented", ("pretrain",), {"self_weight": 0.1, "self_from": 0.0}),
    Row("3 student: labels without a mask", STUDENT, {"confidence.occlusion": False, "confidence.quantile": None}),
    Row("3 student: occlusion mask", STUDENT, {"confidence.quantile": None}),
    Row("3 student: reliable mask", STUDENT),
    Row("4 student: no augmentation", STUDENT, NO_COLOUR | NO_GEOMETRY | NO_ERASER),
    Row("4 student: no colour", STUDENT, NO_COLOUR),
    Row("4 student: no geometry", STUDENT, NO_GEOMETRY),
    Row("4 student: no eraser", STUDENT, NO_ERASER),
    Row("5 network: student's labels only", ("network",), {"unsupervised": 0.0}),
    Row("5 network: labels and unsupervised", ("network",)),
    Row("6 network: one round", BOTH),
    Row("6 network: two rounds", 2 * BOTH),
    Row("6 network: three rounds", 3 * BOTH),
    Row("6 network: one round, no average", BOTH, {"optimiser.ema": 0.0}),
    Row("6 student: soft weight for τ", STUDENT, {"confidence.quantile": None, "confidence.soft": 10.0}),
    Row("7 student: unsupervised only", ("alone",)),
    Row("7 network: taught by that student", ("alone", "network")),
    Row("8 network: labelled by its start", ("pretrain",), {"labels": 1.0}),
    Row("8 network: and anchored", ("pretrain",), {"labels": 1.0, "anchor": 1.0}),
    Row("8 network: anchored, labels at a fifth of the weight", ("pretrain",), {"labels": 0.2, "anchor": 1.0}),
    Row("9 student: foretells its error", STUDENT, FORETELL),
    Row("9 network: one round, labels trusted by that", BOTH, FORETELL | {"confidence.deviation": 2.0}),
    Row("9 student: what is hidden, from the frame before", STUDENT, {"multi_frame": 1.0}),
    Row("10 student alone: every iteration is judged", ("alone",), {"loss.outputs": 6}),
    Row("10 student alone: crops warped alone", ("alone",), {"loss.full_image_warp": False}),
    Row("10 student alone: smooth in the first half only", ("alone",), {"loss.smooth_until": 0.5}),
)
