import argparse

import numpy as np
import pytest
import torch

from mdflow.commands import profile
from mdflow.system import processor


@pytest.mark.parametrize("mixed", [True, False])
def test_each_precision_that_the_processor_has_computes_in_what_its_name_says(monkeypatch, capsys, mixed):
    for room in (processor, profile):
        monkeypatch.setattr(room, "has_bfloat16", lambda device: mixed)
    parser = argparse.ArgumentParser()
    profile.add_arguments(parser)
    torch.manual_seed(0)
    ways = profile.ways_to_run(parser.parse_args(["fastflownet"]), (64, 128))
    flow = ways["float32"]()
    assert flow.shape == (64, 128, 2)
    if mixed:
        rounded = ways["bfloat16"]()
        assert 0 < np.abs(rounded - flow).max() < 0.1 * np.abs(flow).max()
    else:
        assert list(ways) == ["float32"]
        assert "bfloat16 is not timed: this processor does not compute in it." in capsys.readouterr().out
