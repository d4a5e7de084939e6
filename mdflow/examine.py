"""Judging a network while it trains, on a few fixed pairs: with labels where there are any, and without."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from mdflow.data.sample import Dataset, Sample
from mdflow.directions import BothDirections
from mdflow.inference import Predictor, image_tensor
from mdflow.metrics import endpoint_error
from mdflow.networks.dis import SMALLEST, dis_flow
from mdflow.networks.network import FlowNetwork
from mdflow.quality import label_free_scores
from mdflow.visualize import error_image, flow_to_colour, occlusion_image, panel, typical_speed

PANEL_ROWS = 3
PANEL_WIDTH = 480


@dataclass(frozen=True)
class Examination:
    """Named figures, of which `score` (less is better) chooses the best checkpoint, and a panel of pictures."""

    figures: dict[str, float]
    score: float
    panel: np.ndarray


@dataclass(frozen=True)
class Examiner:
    """Looks at up to `pairs` samples spread over the dataset.

    The score is the mean EPE if `by_labels`, else the label-free one, so that a user without ground truth
    can choose a checkpoint too.
    """

    dataset: Dataset
    pairs: int
    by_labels: bool = False

    def __call__(self, network: FlowNetwork) -> Examination:
        """Figures and a panel of the network as it is now."""
        predictor = Predictor(network)
        rows, found = [], []
        for index in np.linspace(0, len(self.dataset) - 1, min(self.pairs, len(self.dataset))).astype(int):
            sample = self.dataset[int(index)]
            both = predictor.both(sample.image1, sample.image2)
            found.append(figures_of(sample, both))
            if len(rows) < PANEL_ROWS:
                rows.append(pictures(sample, both))
        # Where only some pairs have labels, the EPE is the mean of those.
        names = dict.fromkeys(name for one in found for name in one)
        figures = {name: float(np.mean([one[name] for one in found if name in one])) for name in names}
        pieces = [[picture for _, picture in row] for row in rows]
        labels = [[label for label, _ in row] for row in rows]
        return Examination(figures, figures["epe" if self.by_labels else "score"], panel(pieces, labels))


def figures_of(sample: Sample, both: BothDirections) -> dict[str, float]:
    """The label-free scores of a pair, and its EPE and zero flow's if it has labels.

    "speed" is the mean length of the flow, "motion" that of the true one, or of DIS flow where there are no labels and
    the images are large enough for it.
    """
    images = [image_tensor(image) for image in (sample.image1, sample.image2)]
    flows = (image_planes(flow) for flow in (both.flow12, both.flow21))
    figures = label_free_scores(*images, *flows) | {"speed": float(np.linalg.norm(both.flow12, axis=-1).mean())}
    if sample.flow12 is not None and sample.known1.any():
        known = sample.known1
        figures["epe"] = float(endpoint_error(both.flow12, sample.flow12)[known].mean())
        figures["motion"] = figures["epe_zero"] = float(np.linalg.norm(sample.flow12, axis=-1)[known].mean())
    elif min(sample.image1.shape[:2]) >= SMALLEST:
        figures["motion"] = float(dis_flow(*(image[0] for image in images)).norm(dim=0).mean())
    return figures


def pictures(sample: Sample, both: BothDirections) -> list[tuple[str, np.ndarray]]:
    """Both frames, the flow by colour, what it calls occluded, and with labels the truth and the error."""
    largest = typical_speed(both.flow12 if sample.flow12 is None else sample.flow12)
    row = [
        ("frame 1", shrunk(sample.image1)),  # the size of every picture of the panel
        ("frame 2", sample.image2),
        (f"flow, full colour {largest:.1f} px", flow_to_colour(both.flow12, largest)),
        ("occluded", occlusion_image(both.visible1)),
    ]
    if sample.flow12 is not None and sample.known1.any():
        known = sample.known1
        error = endpoint_error(both.flow12, np.where(known[..., None], sample.flow12, 0))
        row.append(("truth", flow_to_colour(sample.flow12, largest, known)))
        row.append((f"error, EPE {error[known].mean():.2f} px", error_image(error, known)))
    return row


def shrunk(image: np.ndarray) -> np.ndarray:
    """The image, at most PANEL_WIDTH wide."""
    scale = PANEL_WIDTH / image.shape[1]
    return image if scale >= 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def image_planes(flow: np.ndarray) -> torch.Tensor:
    """(H,W,2) array to a (1,2,H,W) tensor."""
    return torch.from_numpy(flow).permute(2, 0, 1)[None]
