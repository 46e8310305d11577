"""What Labelbox says of the lines of an import: a file behind a signed link, a JSON object for each line that it tells.

Its link needs no key, and is good for 24 hours. The file may be as large as the import was, and is read line by line.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator

from labelloop.errors import LabelboxAway, LabelboxError
from labelloop.labelbox.client import Import, ImportPlace, Labelbox, told
from labelloop.labelbox.export import Lines
from labelloop.retries import retries
from labelloop.types import Json

_log = logging.getLogger(__name__)

REASONS = 5
"""How many reasons are told."""

_MOST = 256_000_000
_SECONDS = 300.0
_TRIES = 3


class Refusals:
    """How many lines were refused, by ``count``, and the first few ``reasons``: each another one, with its data row."""

    def __init__(self) -> None:
        self.count = 0
        self.reasons: list[str] = []
        self._known: set[str] = set()

    def take(self, line: bytes) -> None:
        """Count a line of the file, unless it says that all went well."""
        said = _read(line)
        if said is None or said.get("status") == "SUCCESS":
            return
        self.count += 1
        if len(self.reasons) < REASONS:
            why = _why(said)
            if why not in self._known:
                self._known.add(why)
                self.reasons.append(f"{_data_row(said)}{why}")


def read_refusals(client: Labelbox, place: ImportPlace, found: Import, wait: Callable[[float], object]) -> Refusals:
    """Read what was refused of an import that has ended: its errors, or of all its lines those that have some.

    Where that cannot be read, the import stands as it is, and that it could not is a reason. ``wait`` pauses between
    tries: each has a new link.
    """
    failure: LabelboxError | None = None
    for left in retries(_TRIES, 1.0, wait=wait):
        refusals = Refusals()
        link = found.errors or found.statuses
        try:
            if link:
                with client.download(link, _SECONDS, f"what was refused of {found.name}") as pieces:
                    for line in _lines(pieces):
                        refusals.take(line)
        except LabelboxAway as error:
            failure = error
            if left:
                found = client.find_import(place, found.name) or found
        except LabelboxError as error:
            failure = error
            break
        else:
            return refusals
    _log.warning("%s", failure)
    refusals.reasons.insert(0, f"how many more is not known: {failure}")
    return refusals


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield whole lines; raises LabelboxError beyond so many bytes."""
    lines, size = Lines(), 0
    for piece in pieces:
        size += len(piece)
        if size > _MOST:
            raise LabelboxError(f"what Labelbox says of an import has more than {_MOST} bytes")
        yield from lines.cut(piece)
    yield lines.rest


def _read(line: bytes) -> Json | None:
    if not line.strip():
        return None
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        said = None
    return said if isinstance(said, dict) else {}


def _data_row(said: Json) -> str:
    row = said.get("dataRow")
    name = (row.get("id") or row.get("globalKey")) if isinstance(row, dict) else None
    return f"data row {str(name)[:80]}: " if name else ""


def _why(said: Json) -> str:
    """Give the messages of a line as one."""
    errors = said.get("errors")
    listed = [one for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    return told(", ".join(str(one.get("message") or one.get("name") or "") for one in listed))
