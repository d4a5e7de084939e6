"""LiteFlowNet2 in the key layout of mmflow, which released every stage of its training."""

from teachers.release import Release, State, rename

LEVEL = r"decoder\.decoders\.level(\d)\."
PATTERNS = {
    r"encoder\.layers\.(\d)\.layers\.(\d)\.conv\.": r"encoder.\1.\2.0.",
    LEVEL + r"NetM\.layers\.(\d)\.conv\.": r"levels.\1.match.layers.\2.0.",
    LEVEL + r"NetM\.pred_flow\.": r"levels.\1.match.flow.",
    LEVEL + r"NetM\.corr_up\.": r"levels.\1.match.doubling.",
    LEVEL + r"NetS\.layers\.(\d)\.conv\.": r"levels.\1.subpixel.layers.\2.0.",
    LEVEL + r"NetS\.pred_flow\.": r"levels.\1.subpixel.flow.",
    LEVEL + r"NetR\.layers\.(\d)\.conv\.": r"levels.\1.regularization.layers.\2.0.",
    LEVEL + r"NetR\.dist_layer\.(\d)\.": r"levels.\1.regularization.distance.\2.",
    LEVEL + r"NetR\.dist_layer\.": r"levels.\1.regularization.distance.0.",
    LEVEL + r"rfeat_layer\.conv\.": r"levels.\1.regularization.features.0.",
    LEVEL + r"upflow_layer\.": r"levels.\1.doubling.",
}


def convert(state: State) -> State:
    """The release's keys to ours."""
    return rename(state, PATTERNS)


RELEASE = Release(
    network="liteflownet2",
    options={"normalize": False},
    source="https://github.com/open-mmlab/mmflow/tree/master/configs/liteflownet2",
    licence="Apache-2.0",
    published="FlyingChairs EPE by variant M6S6 to M3S3R3: 4.20, 3.94, 2.85, 2.07, 1.57",
    convert=convert,
)
