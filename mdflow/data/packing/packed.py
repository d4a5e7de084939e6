"""Any dataset in one memory-mapped file (LMDB): decoded once, read without decoding, every array with a checksum."""

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np

from mdflow.data.sample import Sample
from mdflow.errors import InputError, missing

if TYPE_CHECKING:
    import lmdb

MAGIC = bytes.fromhex("dec0efbe")  # of LMDB, 16 bytes into the file (0xBEEFC0DE, little-endian)
DESCRIPTION = b"description"
LARGEST_FILE = 1 << 44  # bytes of address space, not of disk
ARRAYS = [field.name for field in fields(Sample) if field.name != "name"]


class Packed:
    """A file that `mdflow pack` wrote; `name` is the packed dataset's own.

    Each worker process opens the file itself; nothing is read before it is asked for. Raises InputError for a file that
    is not whole, and on reading for an array that does not fit its checksum.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.store: lmdb.Environment | None = None
        content = self.read(DESCRIPTION)
        try:
            description = json.loads(content or "{}")
            whole = description.get("whole")
            self.name = str(description.get("name"))
            self.places: Sequence[int] = range(int(description.get("length", 0)))  # in the file
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{root} is damaged: it does not say what it holds; pack it anew.") from error
        if not whole:
            self.store = None
            raise InputError(f"{root} is not whole; let `mdflow pack` with the same -o finish it.")

    @staticmethod
    def recognises(root: Path) -> bool:
        """Whether the path looks like such a file."""
        if not root.is_file():
            return False
        with root.open("rb") as file:
            return file.read(20)[16:] == MAGIC

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        with self.damage_named(index):
            record = json.loads(self.read(sample_key(self.places[index])))
            arrays = {field: self.array(record["name"], *place) for field, place in record["arrays"].items()}
            return Sample(record["name"], **arrays)

    def has(self, index: int, field: str) -> bool:
        """Whether a sample has that array, which is not read."""
        with self.damage_named(index):
            return field in json.loads(self.read(sample_key(self.places[index])))["arrays"]

    @contextmanager
    def damage_named(self, index: int) -> Iterator[None]:
        """Turn what a damaged record gives rise to into an InputError that names the sample."""
        try:
            yield
        except InputError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"{self.root} is damaged at sample {index}; pack it anew.") from error

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"store": None}

    def array(self, sample: str, key: str, kind: str, shape: list[int], checksum: int) -> np.ndarray:
        """An array of its own memory, compared with its checksum."""
        content = self.read(bytes.fromhex(key))
        if content is None or zlib.crc32(content) != checksum:
            raise InputError(f"{self.root} is damaged at {sample}; pack it anew.")
        return np.frombuffer(bytearray(content), kind).reshape(shape)

    def read(self, key: bytes) -> bytes | None:
        """What the file holds under a key."""
        if self.store is None:
            self.store = shared_store(self.root)
        import lmdb

        try:
            with self.store.begin() as transaction:
                return transaction.get(key)
        except lmdb.Error as error:
            raise InputError(f"{self.root} is damaged: {error}; pack it anew.") from error


def open_store(path: Path, readonly: bool) -> "lmdb.Environment":
    """The LMDB file at a path; InputError when it cannot be opened, or without the extra lmdb."""
    try:
        import lmdb
    except ImportError as error:
        raise missing(f"{path} is for LMDB", "lmdb") from error
    try:
        store = lmdb.open(
            str(path),
            subdir=False,
            readonly=readonly,
            lock=not readonly,
            map_size=LARGEST_FILE,
            metasync=False,  # a power cut may cost the last sample, never the file
            readahead=False,  # a random order of samples would read neighbours that nobody wants
        )
    except (lmdb.Error, OSError) as error:
        raise InputError(f"{path} cannot be opened as a packed dataset: {error}.") from error
    # A page that the file lacks would end the process.
    if readonly and path.stat().st_size < (store.info()["last_pgno"] + 1) * store.stat()["psize"]:
        raise InputError(f"{path} is cut off; copy it again, or let `mdflow pack` with the same -o finish it.")
    return store


OPEN: WeakValueDictionary[Path, "lmdb.Environment"] = WeakValueDictionary()


def shared_store(path: Path) -> "lmdb.Environment":
    """The file, open for reading; a process may have it open once only, so that all who read share it."""
    path = path.resolve()
    store = OPEN.get(path)
    if store is None:
        store = OPEN[path] = open_store(path, readonly=True)
    return store


def sample_key(index: int) -> bytes:
    """Where a sample's record is."""
    return b"sample%012d" % index


def arrays_of(sample: Sample) -> tuple[dict[str, object], dict[bytes, bytes]]:
    """A sample's record, and the arrays' bytes by their keys.

    A key is a hash of the content, so that the frame that two pairs share is stored once.
    """
    places, contents = {}, {}
    for field in ARRAYS:
        array = getattr(sample, field)
        if array is not None:
            content = np.ascontiguousarray(array).tobytes()
            key = blake2b(content, digest_size=20).digest()
            places[field] = (key.hex(), array.dtype.str, array.shape, zlib.crc32(content))
            contents[key] = content
    return {"name": sample.name, "arrays": places}, contents
