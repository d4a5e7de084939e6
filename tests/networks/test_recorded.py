"""The networks give the outputs that were recorded when they matched the original implementations."""

import numpy as np
import pytest
from recorded_cases import CASES, FOLDER, outputs


@pytest.mark.parametrize("name", CASES)
def test_outputs_are_as_recorded(name):
    with np.load(FOLDER / f"{name}.npz") as recorded:
        for which, flow in outputs(name).items():
            assert np.abs(flow - recorded[which]).max() <= 1e-4 * np.abs(recorded[which]).max(), which
