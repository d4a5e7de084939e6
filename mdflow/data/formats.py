"""The flow formats, one reader and one writer each; mdflow.data.io is their door and checks what they give.

A reader returns (flow, valid) or raises Damage; a writer gets a checked flow and mask.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mdflow.data.containers import DEFLATE_RATIO, Damage
from mdflow.data.npy import read_npy
from mdflow.data.pixels import read_bytes, read_pixels, write_bytes, write_pixels
from mdflow.errors import InputError

FLO_MAGIC = b"PIEH"
UNKNOWN_FLOW = 1e9
KITTI_STEPS, KITTI_ZERO = 64, 2**15


def known(flow: np.ndarray) -> np.ndarray:
    # NaN compares as false, so it stays "known" here and is refused by read_flow.
    return ~(np.abs(flow) > UNKNOWN_FLOW).any(axis=2)


def _floats(data: bytes, offset: int, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """The float32 array of this shape that fills data from offset on; Damage when it would not."""
    needed = 4 * int(np.prod(shape, dtype=object))
    if min(shape) < 1 or needed != len(data) - offset:
        size = f"{shape[1]}x{shape[0]}"
        raise Damage(f"its header claims {size} pixels, which is {needed} bytes, and {len(data) - offset} follow")
    return np.frombuffer(data, kind, offset=offset).reshape(shape).astype(np.float32)


def _read_flo(path: Path) -> tuple[np.ndarray, np.ndarray]:
    data = read_bytes(path)
    if len(data) < 12 or data[:4] != FLO_MAGIC:
        raise Damage("it does not begin as a .flo file")
    width, height = (int.from_bytes(data[at : at + 4], "little", signed=True) for at in (4, 8))
    flow = _floats(data, 12, (height, width, 2), "<f4")
    return flow, known(flow)


def _write_flo(path: Path, flow: np.ndarray, valid: np.ndarray) -> None:
    size = np.array([flow.shape[1], flow.shape[0]], "<i4").tobytes()
    write_bytes(path, FLO_MAGIC + size + _marked(flow, valid, 10 * UNKNOWN_FLOW).astype("<f4").tobytes())


def _marked(flow: np.ndarray, valid: np.ndarray, unknown: float) -> np.ndarray:
    return np.where(valid[..., None], flow, np.float32(unknown))


def _read_pfm(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Rows run from the bottom up; a negative scale means little endian; the third channel is unused."""
    data = read_bytes(path)
    lines = data[:256].split(b"\n", 3)
    try:
        width, height = (int(word) for word in lines[1].split())
        scale = float(lines[2])
    except (IndexError, ValueError) as error:
        raise Damage("it does not begin as a .pfm file") from error
    if lines[0].strip() != b"PF" or len(lines) < 4:
        raise Damage("it is not a .pfm file of three channels")
    offset = len(data[:256]) - len(lines[3])
    flow = _floats(data, offset, (height, width, 3), "<f4" if scale < 0 else ">f4")[::-1, :, :2].copy()
    return flow, known(flow)


def _write_pfm(path: Path, flow: np.ndarray, valid: np.ndarray) -> None:
    height, width = flow.shape[:2]
    rows = np.zeros((height, width, 3), "<f4")
    rows[..., :2] = _marked(flow, valid, 10 * UNKNOWN_FLOW)[::-1]
    write_bytes(path, f"PF\n{width} {height}\n-1.0\n".encode() + rows.tobytes())


def _read_flo5(path: Path) -> tuple[np.ndarray, np.ndarray]:
    import h5py  # here, because only Spring's files need it

    try:
        with h5py.File(path, "r") as file:
            flow = _hdf5_flow(file)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise Damage("it is damaged or not an HDF5 file with a data set named flow") from error
    return flow, ~np.isnan(flow).any(axis=2)


def _hdf5_flow(file) -> np.ndarray:
    import h5py

    if not isinstance(file.get("flow", getlink=True), h5py.HardLink) or not isinstance(file["flow"], h5py.Dataset):
        raise Damage("it has no data set named flow of its own")
    stored = file["flow"]
    if stored.ndim != 3 or stored.shape[2] != 2 or stored.dtype.kind != "f" or stored.is_virtual or stored.external:
        raise Damage(f"its flow is {stored.dtype} of shape {stored.shape}, expected floats (H,W,2)")
    if stored.nbytes > DEFLATE_RATIO * stored.id.get_storage_size():
        raise Damage(f"its header claims {stored.shape[1]}x{stored.shape[0]} pixels, more than the file can hold")
    return stored[()].astype(np.float32)


def _write_flo5(path: Path, flow: np.ndarray, valid: np.ndarray) -> None:
    import h5py

    try:
        with h5py.File(path, "w") as file:
            file.create_dataset("flow", data=_marked(flow, valid, np.nan), compression="gzip", compression_opts=5)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error}.") from error


def _read_npy(path: Path) -> tuple[np.ndarray, np.ndarray]:
    stored = read_npy(read_bytes(path))
    if stored.ndim != 3 or stored.shape[2] != 2 or stored.dtype.kind != "f":
        raise Damage(f"it holds {stored.dtype} of shape {stored.shape}, expected floats (H,W,2)")
    flow = np.array(stored, np.float32, order="C")
    return flow, ~np.isnan(flow).any(axis=2)


def _write_npy(path: Path, flow: np.ndarray, valid: np.ndarray) -> None:
    try:
        with path.open("wb") as file:
            np.save(file, _marked(flow, valid, np.nan))
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error


def _read_kitti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Red and green are 64·flow + 2^15, blue says whether the flow is known (KITTI's development kit)."""
    pixels = read_pixels(path)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint16:
        raise Damage(f"expected 16 bits and three channels, it has {pixels.dtype} of shape {pixels.shape}")
    flow = (pixels[..., :0:-1].astype(np.float32) - KITTI_ZERO) / KITTI_STEPS
    return flow, pixels[..., 0] > 0


def _write_kitti(path: Path, flow: np.ndarray, valid: np.ndarray) -> None:
    steps = np.rint(np.where(valid[..., None], flow, 0).astype(np.float64) * KITTI_STEPS) + KITTI_ZERO
    if steps.min() < 0 or steps.max() > np.iinfo(np.uint16).max:
        raise InputError(f"{path} cannot hold flow beyond 512 px, as KITTI's 16 bits end there; write .flo instead.")
    pixels = np.concatenate([valid[..., None], steps[..., ::-1]], axis=2).astype(np.uint16)
    write_pixels(path, pixels)


READERS: dict[str, Callable[[Path], tuple[np.ndarray, np.ndarray]]] = {
    ".flo": _read_flo,
    ".pfm": _read_pfm,
    ".flo5": _read_flo5,
    ".npy": _read_npy,
    ".png": _read_kitti,
}
WRITERS: dict[str, Callable[[Path, np.ndarray, np.ndarray], None]] = {
    ".flo": _write_flo,
    ".pfm": _write_pfm,
    ".flo5": _write_flo5,
    ".npy": _write_npy,
    ".png": _write_kitti,
}
