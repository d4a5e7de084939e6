"""Readers and writers of images and flows: what goes out comes back, and damage is said."""

import struct
import zlib

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdflow.data.io import read_flow, read_image, read_mask, write_flow, write_image
from mdflow.errors import InputError

RANDOM = np.random.default_rng(0)
EXACT_FORMATS = [".flo", ".pfm", ".flo5", ".npy"]
FLOATS = st.floats(-1e6, 1e6, width=32)


def png(width, height, depth, colour, rows, palette=b""):
    """A PNG with the given header, whatever its pixels are."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + (chunk(b"PLTE", palette) if palette else b"")
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", EXACT_FORMATS)
def test_flow_comes_back_bit_for_bit(tmp_path, suffix):
    flow = RANDOM.normal(0, 100, (5, 7, 2)).astype(np.float32)
    flow[0, 0], flow[0, 1] = -0.0, np.float32(1e-40)
    valid = RANDOM.random((5, 7)) > 0.3
    write_flow(tmp_path / f"a{suffix}", flow, valid)
    back, known = read_flow(tmp_path / f"a{suffix}")
    assert np.array_equal(known, valid)
    assert back.dtype == np.float32 and back[valid].tobytes() == flow[valid].tobytes()
    assert (back[~valid] == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_flow_comes_back(tmp_path_factory, data):
    height, width = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    values = data.draw(st.lists(FLOATS, min_size=2 * height * width, max_size=2 * height * width))
    flow = np.array(values, np.float32).reshape(height, width, 2)
    path = tmp_path_factory.mktemp("flow") / f"a{data.draw(st.sampled_from(EXACT_FORMATS))}"
    write_flow(path, flow)
    back, known = read_flow(path)
    assert known.all() and back.tobytes() == flow.tobytes()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-511, 511, width=32), min_size=12, max_size=12))
def test_kitti_comes_back_to_its_step(tmp_path_factory, values):
    flow = np.array(values, np.float32).reshape(2, 3, 2)
    valid = np.array([[True, False, True], [True, True, False]])
    path = tmp_path_factory.mktemp("kitti") / "a.png"
    write_flow(path, flow, valid)
    back, known = read_flow(path)
    assert np.array_equal(known, valid)
    assert np.abs(back - flow)[valid].max() <= 1 / 128
    write_flow(path, back, known)
    assert np.array_equal(read_flow(path)[0], back)


def test_kitti_layout_is_the_development_kit_s(tmp_path):
    """Red is dx, green is dy, blue is the mask; OpenCV writes blue first."""
    pixels = np.array([[[1, 2**15 - 64, 2**15 + 128]]], np.uint16)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    flow, valid = read_flow(tmp_path / "a.png")
    assert flow[0, 0].tolist() == [2, -1] and valid[0, 0]


def test_flo_layout_is_middlebury_s(tmp_path):
    (tmp_path / "a.flo").write_bytes(struct.pack("<fii4f", 202021.25, 2, 1, 1.5, -2.5, 1e10, 0))
    flow, valid = read_flow(tmp_path / "a.flo")
    assert flow.tolist() == [[[1.5, -2.5], [0, 0]]] and valid.tolist() == [[True, False]]


@pytest.mark.parametrize(("scale", "kind"), [("-1.0", "<f4"), ("1", ">f4")])
def test_pfm_runs_from_the_bottom_up_in_either_byte_order(tmp_path, scale, kind):
    rows = np.array([[[3, 4, 0]], [[1, 2, 0]]], kind)
    (tmp_path / "a.pfm").write_bytes(f"PF\n1 2\n{scale}\n".encode() + rows.tobytes())
    assert read_flow(tmp_path / "a.pfm")[0].tolist() == [[[1, 2]], [[3, 4]]]


def hdf5_without_data(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("flow", shape=(10**6, 10**6, 2), dtype="f4", chunks=(1000, 1000, 2))


def hdf5_pointing_elsewhere(path):
    with h5py.File(path, "w") as file:
        file["flow"] = h5py.ExternalLink("/etc/other.h5", "flow")


def npy(shape, descr="<f4", body=b""):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (118 - len(header) - 1 + 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


NAN = struct.pack("<fii2f", 202021.25, 1, 1, float("nan"), 0)
DAMAGED_FLOWS = [
    ("empty.flo", b"", "does not begin"),
    ("magic.flo", b"ABCD" + bytes(16), "does not begin"),
    ("huge.flo", struct.pack("<fii", 202021.25, 2**31 - 1, 2**31 - 1), "claims 2147483647x2147483647"),
    ("negative.flo", struct.pack("<fii", 202021.25, -3, 5), "claims"),
    ("cut.flo", struct.pack("<fii2f", 202021.25, 2, 1, 0, 0), "claims 2x1"),
    ("nan.flo", NAN, "NaN"),
    ("empty.pfm", b"", "does not begin"),
    ("huge.pfm", b"PF\n99999999 99999999\n-1\n" + bytes(12), "claims"),
    ("gray.pfm", b"Pf\n1 1\n-1\n" + bytes(4), "three channels"),
    ("huge.npy", npy((10**7, 10**7, 2)), "claims 800000000000000 bytes, and 0 follow"),
    # numpy reads as many bytes of header as the file claims, here 4 GB (found by benchmarks/fuzz.py)
    ("header.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr': '<f4'", "damaged"),
    ("version.npy", b"\x93NUMPY\x09\x00" + bytes(16), "damaged"),
    ("object.npy", npy((1, 1, 2), "|O", bytes(16)), "expected plain numbers"),
    ("tokens.npy", npy('(1, 1, 2), """'), "damaged"),
    ("syntax.npy", npy((1, 1, 2), "(1,,)f4"), "damaged"),
    ("keys.npy", npy("(1, 1, 2), b'a': 1"), "damaged"),
    ("shape.npy", npy((2, 2), body=bytes(16)), "expected floats"),
    ("text.flo5", b"not HDF5", "not an HDF5"),
    ("empty.flo5", hdf5_without_data, "claims"),
    ("linked.flo5", hdf5_pointing_elsewhere, "of its own"),
    ("8bit.png", png(1, 1, 8, 2, bytes(4)), "16 bits"),
    ("huge.png", png(60000, 60000, 16, 2, bytes(100)), "claims"),
    ("flow.txt", b"", "not a flow file"),
]


@pytest.mark.parametrize(("name", "content", "sentence"), DAMAGED_FLOWS, ids=[row[0] for row in DAMAGED_FLOWS])
def test_damaged_flow_is_said_with_its_name(tmp_path, name, content, sentence):
    path = tmp_path / name
    content(path) if callable(content) else path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name}.*{sentence}"):
        read_flow(path)


def test_missing_files_are_said():
    with pytest.raises(InputError, match=r"nowhere\.flo cannot be read"):
        read_flow("nowhere.flo")
    with pytest.raises(InputError, match=r"nowhere\.png cannot be read"):
        read_image("nowhere.png")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*EXACT_FORMATS, ".png"]), st.data())
def test_flipped_or_cut_bytes_never_crash(tmp_path_factory, suffix, data):
    path = tmp_path_factory.mktemp("fuzz") / f"a{suffix}"
    write_flow(path, np.zeros((3, 4, 2), np.float32))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        flow, valid = read_flow(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        assert flow.shape == (*valid.shape, 2) and np.isfinite(flow).all()


@pytest.mark.parametrize("flow", [np.zeros((2, 3)), np.full((2, 3, 2), np.nan), np.zeros((2, 3, 3))])
def test_what_is_no_flow_is_not_written(tmp_path, flow):
    with pytest.raises(InputError, match=r"a\.flo"):
        write_flow(tmp_path / "a.flo", flow)
    assert not (tmp_path / "a.flo").exists()


def test_kitti_refuses_what_its_16_bits_cannot_hold(tmp_path):
    with pytest.raises(InputError, match="512 px"):
        write_flow(tmp_path / "a.png", np.full((1, 1, 2), 600))


@pytest.mark.parametrize("suffix", [*EXACT_FORMATS, ".png"])
def test_a_folder_that_is_not_there_is_said(tmp_path, suffix):
    with pytest.raises(InputError, match="cannot be written"):
        write_flow(tmp_path / "nowhere" / f"a{suffix}", np.zeros((1, 1, 2)))


KINDS_OF_IMAGE = [
    ("gray", png(2, 1, 8, 0, bytes([0, 10, 20])), [[10] * 3, [20] * 3]),
    ("one bit", png(2, 1, 1, 0, bytes([0, 0b10000000])), [[255] * 3, [0] * 3]),
    ("gray and alpha", png(2, 1, 8, 4, bytes([0, 10, 255, 20, 0])), [[10] * 3, [20] * 3]),
    ("16 bit gray", png(2, 1, 16, 0, bytes([0, 255, 255, 1, 0])), [[255] * 3, [1] * 3]),
    ("16 bit RGB", png(1, 1, 16, 2, bytes([0, 1, 1, 2, 2, 255, 255])), [[1, 2, 255]]),
    ("RGBA", png(1, 1, 8, 6, bytes([0, 1, 2, 3, 9])), [[1, 2, 3]]),
    ("16 bit RGBA", png(1, 1, 16, 6, bytes([0, 1, 1, 2, 2, 3, 3, 9, 9])), [[1, 2, 3]]),
    ("palette", png(2, 1, 8, 3, bytes([0, 0, 1]), bytes([1, 2, 3, 4, 5, 6])), [[1, 2, 3], [4, 5, 6]]),
    ("PPM", b"P6\n# comment\n1 1\n255\n" + bytes([1, 2, 3]), [[1, 2, 3]]),
    ("PGM", b"P5 2 1 255\n" + bytes([7, 8]), [[7] * 3, [8] * 3]),
]


@pytest.mark.parametrize(("content", "pixels"), [row[1:] for row in KINDS_OF_IMAGE], ids=[r[0] for r in KINDS_OF_IMAGE])
def test_every_kind_of_image_becomes_rgb(tmp_path, content, pixels):
    (tmp_path / "a.png").write_bytes(content)
    image = read_image(tmp_path / "a.png")
    assert image.dtype == np.uint8 and image[0].tolist() == pixels


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".jpg", ".webp"])
def test_images_come_back(tmp_path, suffix):
    image = np.full((20, 31, 3), (200, 30, 90), np.uint8)
    image[:, 16:] = (10, 100, 250)
    write_image(tmp_path / f"a{suffix}", image)
    back = read_image(tmp_path / f"a{suffix}").astype(int)
    tolerance = 0 if suffix in (".png", ".ppm") else 12
    assert np.abs(back - image)[:, [0, 5, 25, 30]].max() <= tolerance


@pytest.mark.parametrize("suffix", [".png", ".ppm", ".jpg", ".webp"])
@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.7, 0.99])
def test_a_cut_image_is_said(tmp_path, suffix, share):
    path = tmp_path / f"a{suffix}"
    write_image(path, RANDOM.integers(0, 255, (40, 50, 3), np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=f"a{suffix}"):
        read_image(path)


def test_a_flipped_bit_in_a_png_is_said(tmp_path):
    write_image(tmp_path / "a.png", RANDOM.integers(0, 255, (40, 50, 3), np.uint8))
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="checksum"):
        read_image(tmp_path / "a.png")


HUGE_IMAGES = [
    png(2**31 - 1, 2**31 - 1, 8, 2, bytes(10)),
    png(30000, 30000, 16, 6, bytes(10)),
    png(0, 5, 8, 2, bytes(10)),
    b"P6 99999 99999 255\n" + bytes(100),
    b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03" + bytes(100) + b"\xff\xda\xff\xd9",
    b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + bytes(8) + b"\xff" * 6 + bytes(8),
]


@pytest.mark.parametrize("content", HUGE_IMAGES)
def test_absurd_image_headers_are_refused_before_decoding(tmp_path, content, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png"):
        read_image(tmp_path / "a.png")


def test_a_jpeg_with_a_thumbnail_cut_in_its_scan_is_said(tmp_path):
    image = cv2.imencode(".jpg", RANDOM.integers(0, 255, (40, 50, 3), np.uint8))[1].tobytes()
    thumbnail = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    app1 = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    (tmp_path / "a.jpg").write_bytes(image[:2] + app1 + image[2:-400])
    with pytest.raises(InputError, match="truncated"):
        read_image(tmp_path / "a.jpg")


def test_a_mask_is_what_is_not_black(tmp_path):
    write_image(tmp_path / "a.png", np.array([[0, 1, 255]], np.uint8))
    assert read_mask(tmp_path / "a.png").tolist() == [[False, True, True]]
    write_image(tmp_path / "b.png", np.array([[[0, 0, 0], [0, 0, 9]]], np.uint8))
    assert read_mask(tmp_path / "b.png").tolist() == [[False, True]]


def test_a_white_that_is_not_of_8_or_16_bits_is_said(tmp_path):
    """OpenCV would give the numbers as they are: almost black."""
    (tmp_path / "ten.pgm").write_bytes(b"P5 2 1 1023\n" + bytes([2, 0, 3, 255]))
    with pytest.raises(InputError, match="its white is 1023"):
        read_image(tmp_path / "ten.pgm")
