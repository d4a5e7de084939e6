"""NumPy's .npy files, read from their bytes: numpy's own reader allocates what a header claims."""

import io
from tokenize import TokenError

import numpy as np

from mdflow.data.containers import Damage

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npy(data: bytes) -> np.ndarray:
    """The array of plain numbers that the bytes of an .npy file hold, read-only; Damage when they do not."""
    stream = io.BytesIO(data)
    try:
        shape, by_columns, kind = HEADERS[np.lib.format.read_magic(stream)](stream)
        needed = kind.itemsize * int(np.prod(shape, dtype=object))
    except (ValueError, TypeError, KeyError, SyntaxError, TokenError, MemoryError, RecursionError) as error:
        # numpy evaluates the header as Python and lets that fail in its own ways.
        raise Damage("it is damaged or not an .npy file of plain numbers") from error
    if kind.kind not in "fiub" or not kind.itemsize or min(shape, default=1) < 0:
        raise Damage(f"it holds {kind} of shape {shape}, expected plain numbers")
    if needed != len(data) - stream.tell():
        raise Damage(f"its header claims {needed} bytes, and {len(data) - stream.tell()} follow")
    return np.frombuffer(data, kind, offset=stream.tell()).reshape(shape, order="F" if by_columns else "C")
