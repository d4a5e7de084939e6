"""What an image file claims in its header, held against the bytes it has, before anything is decoded.

Decoders allocate what a header asks for and some return half a picture for half a file: both are refused.
"""

import zlib
from collections.abc import Callable

LARGEST_IMAGE = 2**27
"""Pixels of the largest image that is read; above 16K × 8K a header is taken for damage."""

DEFLATE_RATIO = 1032
"""Most bytes that one byte of a deflate stream can stand for (zlib's technical details)."""

JPEG_BLOCKS_PER_BYTE = 8
"""A Huffman-coded JPEG spends at least one bit on each 8×8 block (ITU-T T.81, section F)."""


class Damage(Exception):
    """What is wrong with the bytes of a file, as the middle of a sentence."""


def check_image_bytes(data: bytes) -> None:
    """Raise Damage unless data is a whole PNG, JPEG, PPM/PGM or WebP file of a size that it can hold."""
    for magic, check in CHECKS.items():
        if data.startswith(magic):
            width, height = check(data)
            if width < 1 or height < 1 or width * height > LARGEST_IMAGE:
                raise Damage(f"its header claims an image of {width}x{height} pixels")
            return
    raise Damage("it is not a PNG, JPEG, PPM, PGM or WebP image")


def check_png(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG whose chunks are all there with the right checksums."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise Damage("it is truncated")
    width, height = int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(data[25], 4)
    if height * (width * channels * data[24] // 8) > DEFLATE_RATIO * len(data):
        raise Damage(f"its header claims an image of {width}x{height} pixels, more than the file can hold")
    position = 8
    while position + 12 <= len(data):
        end = position + 12 + int.from_bytes(data[position : position + 4])
        if end > len(data):
            break
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise Damage("a checksum in it is wrong")
        if data[position + 4 : position + 8] == b"IEND":
            return width, height
        position = end
    raise Damage("it is truncated")


def check_jpeg(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG that ends after its scan."""
    width, height = jpeg_size(data)
    if width * height > 64 * JPEG_BLOCKS_PER_BYTE * len(data):
        raise Damage(f"its header claims an image of {width}x{height} pixels, more than the file can hold")
    # A thumbnail inside has markers of its own, but they come before the image's scan.
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise Damage("it is truncated")
    return width, height


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height in the frame header, the first marker C0 to CF that is not a table."""
    position = 2
    while position + 9 <= len(data):
        if data[position] != 0xFF:
            break
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[position + 7 : position + 9]), int.from_bytes(data[position + 5 : position + 7])
        position += 1 if marker == 0xFF else 2 + int.from_bytes(data[position + 2 : position + 4])
    raise Damage("it is truncated or has no frame header")


def check_netpbm(data: bytes) -> tuple[int, int]:
    """Width and height of a binary PPM or PGM whose pixels are all there."""
    tokens, position = [], 2
    while len(tokens) < 3 and position < min(len(data), 4096):
        if data[position : position + 1] == b"#":
            line_end = data.find(b"\n", position)
            position = len(data) if line_end < 0 else line_end + 1
        elif data[position : position + 1].isspace():
            position += 1
        else:
            start = position
            while position < len(data) and data[position : position + 1].isdigit() and position - start < 10:
                position += 1
            if position == start:
                raise Damage("its header is not that of a PPM or PGM image")
            tokens.append(int(data[start:position]))
    if len(tokens) < 3:
        raise Damage("it is truncated")
    width, height, largest = tokens
    if largest not in (255, 65535):
        raise Damage(f"its white is {largest}, where 255 and 65535 are understood; save it with 8 or 16 bits")
    needed = width * height * (3 if data[1:2] == b"6" else 1) * (1 if largest < 256 else 2)
    if needed > len(data) - position - 1:
        raise Damage(f"it is truncated, or its header is wrong: {width}x{height} pixels need {needed} bytes")
    return width, height


def check_webp(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP file as long as it says (RFC 9649)."""
    if len(data) < 30 or data[8:12] != b"WEBP":
        raise Damage("it is truncated or not a WebP image")
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise Damage("it is truncated")
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


CHECKS: dict[bytes, Callable[[bytes], tuple[int, int]]] = {
    b"\x89PNG\r\n\x1a\n": check_png,
    b"\xff\xd8\xff": check_jpeg,
    b"P5": check_netpbm,
    b"P6": check_netpbm,
    b"RIFF": check_webp,
}
