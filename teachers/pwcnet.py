"""PWC-Net as its authors released it for PyTorch."""

from teachers.release import Release, State, rename

# The release calls the convolutions of a level a, aa, b in this order; at level 6 it is aa, a, b.
PATTERNS = {
    r"conv6aa\.0\.": "encoder.5.0.0.",
    r"conv6a\.0\.": "encoder.5.1.0.",
    **{rf"conv{level}a\.0\.": f"encoder.{level - 1}.0.0." for level in range(1, 6)},
    **{rf"conv{level}aa\.0\.": f"encoder.{level - 1}.1.0." for level in range(1, 6)},
    **{rf"conv{level}b\.0\.": f"encoder.{level - 1}.2.0." for level in range(1, 7)},
    r"conv(\d)_(\d)\.0\.": r"dense.\1.layers.\2.0.",
    r"predict_flow(\d)\.": r"predict.\1.",
    r"deconv([3-6])\.": r"up_flow.\1.",
    r"upfeat(\d)\.": r"up_features.\1.",
    r"dc_conv7\.": "context.6.",
    **{rf"dc_conv{number}\.0\.": f"context.{number - 1}.0." for number in range(1, 7)},
}


def convert(state: State) -> State:
    """The release's keys to ours; its deconv2 is never used."""
    return rename({key: value for key, value in state.items() if not key.startswith("deconv2.")}, PATTERNS)


RELEASE = Release(
    network="pwcnet",
    # The weights were trained when grid_sample aligned corners by default.
    options={"normalize": False, "align_corners": True},
    source="https://github.com/NVlabs/PWC-Net",
    licence="CC BY-NC-SA 4.0",
    published="Things: Sintel train EPE 2.55 clean, 3.93 final; KITTI-2015 train EPE 10.35",
    convert=convert,
)
