import argparse

import numpy as np
import torch

from mdflow.commands.profile import add_arguments, ways_to_run


def test_each_precision_computes_in_what_its_name_says():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    torch.manual_seed(0)
    ways = ways_to_run(parser.parse_args(["fastflownet"]), (64, 128))
    flow, rounded = ways["float32"](), ways["bfloat16"]()
    assert flow.shape == (64, 128, 2)
    assert 0 < np.abs(rounded - flow).max() < 0.1 * np.abs(flow).max()
