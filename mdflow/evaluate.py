"""A network's figures on a set: errors where the flow is known, label-free scores where it is not."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from mdflow.data.sample import Dataset, Sample
from mdflow.deployment.runtime import OnnxPredictor
from mdflow.errors import InputError
from mdflow.inference import Predictor, image_tensor
from mdflow.metrics import Tallies, summarise, tally
from mdflow.networks.network import FlowNetwork
from mdflow.quality import guess_error, label_free_scores, middle

AnyPredictor = Predictor | OnnxPredictor


@dataclass(frozen=True)
class PairResult:
    """What was found on one pair: error tallies if its flow is known, label-free scores if asked for."""

    name: str
    tallies: Tallies | None
    scores: dict[str, float] | None


def evaluate(
    network: FlowNetwork | AnyPredictor, dataset: Dataset, label_free: bool = False, progress: bool = False
) -> dict[str, float]:
    """Figures of a network on a dataset of pairs; a bare network is used with the fit "pad".

    Keys for pairs with truth: see mdflow.metrics.summarise. Pairs without truth (with `label_free` all) give
    the means of mdflow.quality.label_free_scores and their number "label_free_pairs", and over those pairs where
    anything leaves the middle of the frame "hidden", mdflow.quality.guess_error. Raises InputError for
    a flow that does not fit its image, naming the pair, and for an empty dataset.
    """
    return figures_of(evaluate_pairs(network, dataset, label_free, progress))


def evaluate_pairs(
    network: FlowNetwork | AnyPredictor, dataset: Dataset, label_free: bool = False, progress: bool = False
) -> Iterator[PairResult]:
    """The results of `evaluate` pair by pair, in the dataset's order."""
    predictor = Predictor(network) if isinstance(network, FlowNetwork) else network
    indices = tqdm(range(len(dataset)), desc=dataset.name, unit="pair", disable=not progress, leave=False)
    for index in indices:
        yield _evaluate_pair(predictor, dataset[index], label_free)


def figures_of(results: Iterable[PairResult]) -> dict[str, float]:
    """The averages over a set; InputError when it is empty."""
    results = list(results)
    if not results:
        raise InputError("There are no pairs to evaluate; give a set with at least two consecutive frames.")
    labelled = [result.tallies for result in results if result.tallies is not None]
    scored = [result.scores for result in results if result.scores is not None]
    figures = summarise(labelled) if labelled else {}
    if scored:
        figures["label_free_pairs"] = len(scored)
        names = dict.fromkeys(name for scores in scored for name in scores)
        figures |= {name: float(np.mean([scores[name] for scores in scored if name in scores])) for name in names}
    return figures


def _evaluate_pair(predictor: AnyPredictor, sample: Sample, label_free: bool) -> PairResult:
    labelled = sample.flow12 is not None
    if labelled and sample.flow12.shape[:2] != sample.image1.shape[:2]:
        raise InputError(
            f"The true flow of {sample.name} is {_size(sample.flow12)} and its image {_size(sample.image1)}; "
            "they must have one size."
        )
    if labelled and not label_free:
        flow = predictor(sample.image1, sample.image2)
        return PairResult(sample.name, tally(flow, sample), None)
    image1, image2 = image_tensor(sample.image1), image_tensor(sample.image2)
    both = predictor.both(image1, image2)
    device = both.flow12.device
    scores = label_free_scores(image1.to(device), image2.to(device), both.flow12, both.flow21)
    hidden = guess_error(both, predictor.both(middle(image1), middle(image2)))
    if hidden is not None:
        scores["hidden"] = hidden
    flow = both.flow12[0].permute(1, 2, 0).cpu().numpy()
    return PairResult(sample.name, tally(flow, sample) if labelled else None, scores)


def _size(array: np.ndarray) -> str:
    return f"{array.shape[0]}x{array.shape[1]}"
