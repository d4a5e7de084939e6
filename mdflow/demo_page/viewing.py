"""What the page shows of footage: of every pair the frames, and each network's flow, occlusion and confidence."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mdflow.data.io import write_flow, write_image
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.inference import Predictor, image_tensor
from mdflow.occlusion import visible_inside
from mdflow.quality import CENSUS_OF_UNRELATED, label_free_scores, unexplained
from mdflow.results import VideoFile, following_scale, make_folder
from mdflow.visualize import error_image, flow_to_colour, gray_image, occlusion_image, panel

DIFFERENCE_OF_WHITE = 3.0
"""Pixels between two flows that are shown white: KITTI's bound between right and wrong."""
WHEEL_SIZE = 96


@dataclass(frozen=True)
class Estimate:
    """What one network says of a pair: flow12 (H,W,2), visible1 (H,W) bool, confidence (H,W) in [0,1], score."""

    flow12: np.ndarray
    visible1: np.ndarray
    confidence: np.ndarray
    score: float


@torch.no_grad()
def confidence_map(image1: Tensor, image2: Tensor, flow12: Tensor, flow21: Tensor) -> Tensor:
    """How far each pixel of frame 1 can be trusted, (B,1,H,W) in [0,1].

    1 where the census of frame 2 at x + flow12(x) is that of frame 1, 0 where it is as far as unrelated texture
    (mdflow.quality), where the pixel is occluded, and where it leaves the frame. Distillation asks the same
    two questions with a threshold (mdflow.confidence).
    """
    seen = visible_inside(flow12, flow21)
    return seen * (1 - unexplained(image1, image2, flow12) / CENSUS_OF_UNRELATED).clamp(0, 1)


def estimate(predictor: Predictor | OnnxPredictor, image1: np.ndarray, image2: np.ndarray) -> Estimate:
    """What the network says of two frames (H,W,3) uint8; one that never saw the truth is scored without it."""
    tensor1, tensor2 = image_tensor(image1), image_tensor(image2)
    both = predictor.both(tensor1, tensor2)
    flow12, flow21, visible1 = both.flow12.cpu(), both.flow21.cpu(), both.visible1.cpu()
    confidence = confidence_map(tensor1, tensor2, flow12, flow21)
    return Estimate(
        flow12[0].permute(1, 2, 0).contiguous().numpy(),
        visible1[0, 0].numpy() > 0.5,
        confidence[0, 0].numpy(),
        label_free_scores(tensor1, tensor2, flow12, flow21)["score"],
    )


@dataclass
class Viewing:
    """A folder of pictures and flows that the viewer reads, to be used in a `with` statement.

    FOLDER/frame1, frame2/NAME.jpg; of network k flowK/NAME.flo and colourK, occlusionK, confidenceK/NAME.png; of
    two networks difference/NAME.png; at the end film.mp4. All networks' flows of a pair share one colour scale.
    """

    folder: Path
    title: str
    networks: list[str]
    rate: float
    total: int
    pairs: list[dict] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    finished: bool = False

    def __enter__(self) -> Self:
        make_folder(self.folder)
        write_image(self.folder / "wheel.png", colour_wheel(WHEEL_SIZE))
        self.film = VideoFile(self.folder / "film.mp4", self.rate)
        self.open = ExitStack()
        self.open.callback(self.film.close)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open.close()
        self.finished = kind is None

    def write(self, name: str, image1: np.ndarray, image2: np.ndarray, estimates: list[Estimate]) -> None:
        """Add a pair and what each network says of it."""
        self.size = image1.shape[:2]
        before = self.pairs[-1]["scale"] if self.pairs else 0.0
        scale = max(following_scale(each.flow12, before) for each in estimates)
        pictures = {"frame1": image1, "frame2": image2}
        for number, each in enumerate(estimates):
            make_folder(self.folder / f"flow{number}")
            write_flow(self.folder / f"flow{number}" / f"{name}.flo", each.flow12)
            pictures[f"colour{number}"] = flow_to_colour(each.flow12, scale)
            pictures[f"occlusion{number}"] = occlusion_image(each.visible1)
            pictures[f"confidence{number}"] = gray_image(each.confidence)
        if len(estimates) == 2:
            pictures["difference"] = difference_image(*estimates)
        for kind, picture in pictures.items():
            make_folder(self.folder / kind)
            write_image(self.folder / kind / f"{name}.{'jpg' if kind.startswith('frame') else 'png'}", picture)
        self.film.write(name, self.figure(pictures, scale))
        scores = [{"score": each.score, "visible": 100 * float(each.visible1.mean())} for each in estimates]
        self.pairs.append({"name": name, "scale": scale, "scores": scores})

    def figure(self, pictures: dict[str, np.ndarray], scale: float) -> np.ndarray:
        """A frame of the film: a row a network."""
        beside = ["frame1", "difference"]
        rows = [
            [pictures[beside[number]], *(pictures[f"{kind}{number}"] for kind in ("colour", "occlusion", "confidence"))]
            for number in range(len(self.networks))
        ]
        captions = ["frame", f"difference, white {DIFFERENCE_OF_WHITE:g} px"]
        labels = [
            [captions[number], f"{plain(name)}, full colour {scale:.1f} px", "occluded", "confidence"]
            for number, name in enumerate(self.networks)
        ]
        return panel(rows, labels)

    def describe(self) -> dict:
        """All that the viewer must know, as JSON can hold it."""
        return {
            "title": self.title,
            "networks": self.networks,
            "rate": self.rate,
            "height": self.size[0],
            "width": self.size[1],
            "total": self.total,
            "pairs": self.pairs,
            "difference": DIFFERENCE_OF_WHITE,
            "film": self.finished,
        }


def difference_image(estimate1: Estimate, estimate2: Estimate) -> np.ndarray:
    """How far two flows are apart, from black to white at DIFFERENCE_OF_WHITE."""
    distance = np.linalg.norm(estimate1.flow12 - estimate2.flow12, axis=-1)
    return error_image(distance, largest=DIFFERENCE_OF_WHITE)


def colour_wheel(size: int) -> np.ndarray:
    """The legend of flow_to_colour: the colour of every direction and speed, in a disc of `size` pixels."""
    ends = np.linspace(-1, 1, size, dtype=np.float32)
    flow = np.stack(np.meshgrid(ends, ends), axis=-1)
    wheel = flow_to_colour(flow, largest=1)
    wheel[np.linalg.norm(flow, axis=-1) > 1] = 255
    return wheel


def plain(text: str) -> str:
    """The text in ASCII: a film's captions have no other letters."""
    return text.encode("ascii", "replace").decode()
