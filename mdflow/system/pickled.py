"""What torch.save wrote, read without running any of the code that such a file can ask for."""

import io
import pickle
import zipfile
from pathlib import Path

import torch

from mdflow.errors import InputError


def read_pickled(content: bytes, path: Path) -> object:
    """The tensors, numbers and containers that torch.save wrote; `path` is for the error's sentence.

    Only tensors and plain values are built. Raises InputError for a file that asks to run code, is damaged, or
    claims more bytes than it has.
    """
    refuse_inflated(content, path)
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"'{path}' is not a plain weight file: it is damaged or holds Python objects, which are never "
            "executed here; expected tensors, so save it again as a state dict."
        ) from error
    except Exception as error:
        # Bytes that are no pickle make the unpickler fail in any way, by an IndexError for example.
        raise InputError(f"'{path}' is no weight file, or a damaged one; expected what torch.save wrote.") from error


def refuse_inflated(content: bytes, path: Path) -> None:
    """Raise InputError for an archive whose members claim more bytes than the file has: torch.save never packs."""
    if not content.startswith(b"PK"):
        return
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise InputError(f"'{path}' is no weight file, or a damaged one: {error}; get it again.") from error
    if claimed > len(content):
        raise InputError(f"'{path}' claims {claimed} bytes of weights and has {len(content)}; get it again.")
