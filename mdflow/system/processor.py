"""What a device computes in."""

import torch

from mdflow.errors import InputError


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device computes in bfloat16: of x86 processors those with AVX-512."""
    if device.type != "cpu":
        return True
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def require_bfloat16(device: torch.device) -> None:
    """InputError if the device does not compute in bfloat16.

    PyTorch would imitate it, number by number, in ten to a hundred times the time of float32.
    """
    if not has_bfloat16(device):
        raise InputError(
            "This processor does not compute in bfloat16 (those with AVX-512 do), and imitating it takes ten times as "
            "long or more; ask for the precision float32."
        )


def has_matrix_unit() -> bool:
    """Whether this processor multiplies matrices of bfloat16 in a unit for that (AMX), and the system lets us."""
    return torch.cpu._init_amx()


def fastest_precision(device: torch.device) -> str:
    """The name of the precision in which the device computes fastest.

    On processors that have bfloat16 without a matrix unit the kernels of float32 are ahead of it (docs/speed.md).
    """
    fast = has_bfloat16(device) and (device.type != "cpu" or has_matrix_unit())
    return "bfloat16" if fast else "float32"
