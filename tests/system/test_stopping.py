import os
import signal
import threading

import pytest
import torch
from test_training import examine, pull, settings, stream, train
from toy import Translation

from mdflow.runs.folder import open_run
from mdflow.system.stopping import Stopped, stop_signal
from mdflow.training import fit


@pytest.fixture(autouse=True)
def as_in_a_terminal():
    """A job in the background ignores Ctrl+C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_what_is_ignored_still_is():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_signal() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert not asked()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noticed_and_the_old_behaviour_comes_back(number):
    before = signal.getsignal(number)
    with stop_signal() as asked:
        assert not asked()
        os.kill(os.getpid(), number)
        assert asked()
    assert signal.getsignal(number) is before


def test_a_cluster_may_ask_twice():
    with stop_signal() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()


def test_a_second_ctrl_c_ends_what_does_not_stop():
    with stop_signal(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_a_thread_may_train_too():
    found = []

    def inside():
        with stop_signal() as asked:
            found.append(asked())

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [False]


@pytest.mark.parametrize(("stop", "number"), [(0, signal.SIGTERM), (3, signal.SIGINT), (7, signal.SIGTERM)])
def test_a_run_saves_after_the_step_at_hand_and_goes_on_to_the_same_weights(tmp_path, stop, number):
    """Also when the last step is at hand: the stage after it must not begin."""
    expected = train(tmp_path, "whole", steps=8, checkpoint_every=100)
    network, seen = Translation(), []

    def step(batch, progress):
        seen.append(int(batch["number"]))
        if seen[-1] == stop:
            os.kill(os.getpid(), number)
        return pull(network)(batch, progress)

    config = settings(tmp_path, "parts", steps=8, checkpoint_every=100)
    with pytest.raises(Stopped, match=f"Stopped after step {stop + 1} of 8 of stage, and saved in '.*parts'"):
        fit(network, step, stream, examine, config, 8, open_run(config), "stage")
    assert seen == list(range(stop + 1))
    again = train(tmp_path, "parts", Translation(9, 9), steps=8, checkpoint_every=100, resume=True)
    assert torch.equal(again.motion, expected.motion)
