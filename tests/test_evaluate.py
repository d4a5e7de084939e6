from dataclasses import replace

import numpy as np
import pytest
from toy import Translation

from mdflow.data.sample import Sample
from mdflow.errors import InputError
from mdflow.evaluate import evaluate, evaluate_pairs
from mdflow.inference import Predictor
from mdflow.networks import create
from mdflow.networks.zero import ZeroFlow


class Pairs(list):
    """A dataset of given samples."""

    name = "pairs"


def sample_of(name: str, motion: tuple[float, float], known: bool = True) -> Sample:
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    truth = np.broadcast_to(np.float32(motion), (24, 40, 2))
    return Sample(name, image, image, flow12=truth if known else None)


def test_zero_flow_has_the_mean_motion_as_error():
    figures = evaluate(create("zero"), Pairs([sample_of("a", (3, 4)), sample_of("b", (0, 0))]))
    assert figures["pairs"] == 2
    assert figures["epe"] == 2.5
    assert figures["fl"] == 50
    assert "census" not in figures


def test_pairs_without_truth_get_label_free_scores():
    figures = evaluate(create("zero"), Pairs([sample_of("a", (0, 0), known=False)]))
    assert "epe" not in figures
    assert figures["label_free_pairs"] == 1
    assert figures["census"] < 1e-6
    assert figures["visible"] == 100


def test_guesses_are_judged_where_anything_leaves_the_middle():
    pairs = Pairs([sample_of("a", (0, 0), known=False), sample_of("b", (0, 0), known=False)])
    assert "hidden" not in evaluate(create("zero"), pairs)
    assert evaluate(Translation(3, 0), pairs)["hidden"] == 0


def test_labelled_pairs_get_them_on_request_and_the_same_errors():
    pairs = Pairs([sample_of("a", (3, 4)), sample_of("b", (1, 0))])
    plain, both = evaluate(create("zero"), pairs), evaluate(create("zero"), pairs, label_free=True)
    assert plain.items() <= both.items()
    assert both["label_free_pairs"] == 2


def test_a_predictors_own_fit_is_kept(monkeypatch):
    seen = []
    still = ZeroFlow.encode
    monkeypatch.setattr(ZeroFlow, "encode", lambda *images: seen.append(images[1].shape) or still(*images))
    evaluate(Predictor(create("zero"), "resize", size=(32, 48)), Pairs([sample_of("a", (1, 0))]))
    assert seen == [(1, 3, 32, 48)]


def test_results_come_pair_by_pair_with_their_names():
    results = list(evaluate_pairs(create("zero"), Pairs([sample_of("x/1", (1, 0)), sample_of("x/2", (2, 0))])))
    assert [result.name for result in results] == ["x/1", "x/2"]
    assert [result.tallies["all"].error / 960 for result in results] == [1, 2]


def test_an_empty_set_is_refused():
    with pytest.raises(InputError, match="no pairs to evaluate"):
        evaluate(create("zero"), Pairs())


def test_a_truth_of_another_size_is_refused_with_the_pairs_name():
    wrong = replace(sample_of("alley_1/frame_0001", (0, 0)), flow12=np.zeros((24, 41, 2), np.float32))
    with pytest.raises(InputError, match="alley_1/frame_0001 is 24x41 and its image 24x40"):
        evaluate(create("zero"), Pairs([wrong]))
