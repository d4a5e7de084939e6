"""Adapting a network to one kind of footage: the stages of MDFlow from given weights, and a choice without labels."""

import copy
from dataclasses import dataclass

from mdflow import distill, pretrain
from mdflow.checkpoint import load_network
from mdflow.config import DistillConfig, PretrainConfig
from mdflow.data.batches import scaled
from mdflow.data.sample import Dataset, Sample
from mdflow.examine import Examiner
from mdflow.networks.network import FlowNetwork
from mdflow.runs.folder import RunFolder


@dataclass(frozen=True)
class Candidate:
    """Weights that may become the result: where they come from, and their label-free figures on the footage."""

    name: str
    network: FlowNetwork
    figures: dict[str, float]


@dataclass(frozen=True)
class Stage:
    """A stage's settings and the folder that it writes."""

    config: PretrainConfig | DistillConfig
    folder: RunFolder


@dataclass(frozen=True)
class Footage:
    """What is learned from, and what is judged on."""

    training: Dataset
    held_out: Dataset


class Shrunk:
    """A dataset whose frames are at most `width` pixels wide: what a large video is judged at in bearable time."""

    def __init__(self, dataset: Dataset, width: int) -> None:
        self.name, self.dataset, self.width = dataset.name, dataset, width

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        pair = self.dataset[index]
        height, width = pair.image1.shape[:2]
        if width <= self.width:
            return pair
        return scaled(pair, max(round(height * self.width / width), 1), self.width)


def adapt(
    pretraining: Stage, rounds: Stage | None, network: FlowNetwork, student: FlowNetwork | None, data: Footage
) -> list[Candidate]:
    """Pretrain `network` on the footage, then let it and `student` teach each other; the candidates, start first.

    After the first stage the network goes on from the best candidate, which may be the start. Without `rounds` there
    is no second stage. Both networks are trained in place. A stage whose checkpoint is in its folder is resumed.
    """
    examine = Examiner(data.held_out, pretraining.config.score_pairs)
    found = [judged("start", network, examine)]
    pretrain.run(pretraining.config, network, data.training, data.held_out, pretraining.folder)
    found += kept(pretraining.folder, "pretrain", "pretrained on the footage", examine)
    if rounds is None or student is None:
        return found
    network.load_state_dict(best(found).network.state_dict())
    distill.run(rounds.config, network, student, data.training, data.held_out, rounds.folder)
    for number in range(1, rounds.config.rounds + 1):
        found += kept(rounds.folder, f"round{number}_teacher", f"taught by the student, round {number}", examine)
    return found


def best(candidates: list[Candidate]) -> Candidate:
    """The candidate with the lowest label-free score; of equal ones the first."""
    return min(candidates, key=lambda candidate: candidate.figures["score"])


def judged(name: str, network: FlowNetwork, examine: Examiner) -> Candidate:
    """A candidate that is a copy of the network as it is now."""
    unchanging = copy.deepcopy(network).eval()
    return Candidate(name, unchanging, examine(unchanging).figures)


def kept(folder: RunFolder, stage: str, name: str, examine: Examiner) -> list[Candidate]:
    """The checkpoint that a stage kept as its best; none if no step of it gave finite flow."""
    path = folder.path / "checkpoints" / f"best_{stage}.safetensors"
    return [judged(name, load_network(path), examine)] if path.exists() else []
