from dataclasses import replace

import numpy as np
import pytest
from toy import Pairs, Translation

from mdflow.examine import PANEL_ROWS, Examiner


class Unlabelled(Pairs):
    """The same pairs without labels."""

    def __getitem__(self, index):
        return replace(super().__getitem__(index), flow12=None, flow21=None)


def test_labelled_pairs_are_measured():
    result = Examiner(Pairs(), 3, by_labels=True)(Translation(2, 0))
    assert result.figures["epe"] < 1e-4
    assert result.figures["epe_zero"] == pytest.approx(2)
    assert result.score == result.figures["epe"]
    assert Examiner(Pairs(), 3, by_labels=True)(Translation(2, 3)).score == pytest.approx(3, rel=1e-4)


def test_without_labels_the_true_flow_scores_best():
    scores = [Examiner(Unlabelled(), 3)(Translation(dx, 0)).score for dx in (0, 1, 2, 3)]
    assert np.argmin(scores) == 2
    assert "epe" not in Examiner(Unlabelled(), 1)(Translation()).figures


@pytest.mark.parametrize(("size", "known"), [(12, False), (16, True)])
def test_where_dis_cannot_run_the_motion_is_left_out(size, known):
    assert ("motion" in Examiner(Unlabelled(size=size), 1)(Translation()).figures) == known


def test_labels_do_not_choose_a_checkpoint_unless_asked_to():
    labelled, unlabelled = (Examiner(kind(), 2)(Translation(1, 0)) for kind in (Pairs, Unlabelled))
    assert labelled.score == pytest.approx(unlabelled.score)
    assert "epe" in labelled.figures


def test_pairs_are_spread_over_the_set_and_no_more_than_there_are():
    class Recorded(Pairs):
        def __init__(self, length):
            super().__init__(length)
            self.seen = []

        def __getitem__(self, index):
            self.seen.append(index)
            return super().__getitem__(index)

    few, many = Recorded(2), Recorded(100)
    Examiner(few, 5)(Translation())
    Examiner(many, 5)(Translation())
    assert few.seen == [0, 1]
    assert many.seen == [0, 24, 49, 74, 99]


def test_unknown_flow_is_left_out():
    class Partly(Pairs):
        def __getitem__(self, index):
            pair = super().__getitem__(index)
            flow, valid = pair.flow12.copy(), np.ones(pair.flow12.shape[:2], bool)
            flow[:5], flow[5:10], valid[5:10] = np.nan, 400, False
            return replace(pair, flow12=flow, valid1=valid)

    assert Examiner(Partly(), 1)(Translation(2, 0)).figures["epe"] < 1e-4


def test_the_panel_shows_a_few_pairs():
    panel = Examiner(Pairs(5), 5)(Translation(2, 0)).panel
    assert panel.dtype == np.uint8
    assert panel.shape[0] > 64 * PANEL_ROWS
    assert panel.shape[1] > 64 * 6
    assert panel.shape[0] < 64 * (PANEL_ROWS + 2)


@pytest.mark.parametrize("labelled_first", [True, False])
def test_of_pairs_with_and_without_labels_the_error_is_that_of_the_former(labelled_first):
    class Half(Pairs):
        def __getitem__(self, index):
            pair = super().__getitem__(index)
            return pair if (index == 0) == labelled_first else replace(pair, flow12=None, flow21=None)

    figures = Examiner(Half(), 3)(Translation(2, 3)).figures
    assert figures["epe"] == pytest.approx(3, rel=1e-4)
    assert figures["motion"] > 0


def test_a_pair_of_which_nothing_is_known_does_not_count():
    class Once(Pairs):
        def __getitem__(self, index):
            pair = super().__getitem__(index)
            return pair if index else replace(pair, valid1=np.zeros(pair.flow12.shape[:2], bool))

    assert Examiner(Once(), 3, by_labels=True)(Translation(2, 3)).score == pytest.approx(3, rel=1e-4)
