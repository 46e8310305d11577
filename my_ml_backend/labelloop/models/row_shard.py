"""One shard of rows, as a file: a NumPy array of one value, which has all keys and then all rows.

So keys are read without touching the rows, and both are mapped into memory.
"""

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

KEY_BYTES = 32

Keys = npt.NDArray[np.bytes_]
Rows = npt.NDArray[Any]


class Shard(NamedTuple):
    """An open shard: ``keys`` S32 (n,), sorted, and ``rows`` (n, ...), mapped into memory."""

    keys: Keys
    rows: Rows


def shard_file(keys: Keys, rows: Rows) -> tuple[str, bytes]:
    """Give the name of a shard, the sha256 of its content (hex), and the content; ``keys`` are sorted."""
    shard = np.empty(1, dtype=_type(_row_of(rows), len(keys)))
    shard["keys"][0], shard["rows"][0] = keys, rows
    file = io.BytesIO()
    np.save(file, shard, allow_pickle=False)
    return hashlib.sha256(file.getbuffer()).hexdigest(), file.getvalue()


def read_shard(path: Path, row: np.dtype[Any] | None) -> Shard | None:
    """Map a file of this machine; None where it is no shard, was cut off, or has other rows than ``row`` (if any)."""
    try:
        held = np.load(path, mmap_mode="r", allow_pickle=False)
        keys, rows = held["keys"][0], held["rows"][0]
        if held.dtype == _type(_row_of(rows) if row is None else row, len(keys)) and held.shape == (1,):
            return Shard(keys, rows)
    except (OSError, ValueError, EOFError, KeyError, IndexError, TypeError):
        pass
    return None


def packed(keys: Sequence[str]) -> Keys:
    """Give sha256s (hex) as an array of 32 bytes each; raises ValueError for what is none."""
    joined = bytes.fromhex("".join(keys))
    if len(joined) != KEY_BYTES * len(keys):
        raise ValueError("a key is no sha256")
    return np.frombuffer(joined, dtype=f"S{KEY_BYTES}")


def numbers_of(keys: Keys) -> npt.NDArray[np.uint64]:
    """Give the first 8 bytes of keys as numbers, which sort as they do."""
    numbers: npt.NDArray[np.uint64] = np.ascontiguousarray(keys).view(">u8")[:: KEY_BYTES // 8].astype(np.uint64)
    return numbers


def _row_of(rows: Rows) -> np.dtype[Any]:
    return np.dtype((rows.dtype, rows.shape[1:]))


def _type(row: np.dtype[Any], count: int) -> np.dtype[np.void]:
    return np.dtype([("keys", f"S{KEY_BYTES}", (count,)), ("rows", row, (count,))])
