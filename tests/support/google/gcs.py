"""Cloud Storage as the stand-in's own rooms see it: objects by their addresses, whatever a caller may do."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from support.google.buckets import Refusal
from support.google.storage import Storage
from support.google.wire import invalid


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects by their addresses, ``gs://bucket/name``."""

    storage: Storage

    def read(self, uri: str) -> bytes | None:
        """Read one; None where there is none."""
        try:
            return self.storage.read(*split(uri))
        except Refusal:
            return None

    def write(self, uri: str, content: bytes) -> None:
        """Write one; in a bucket that is not there nothing is written, as by a program that looks at no error."""
        bucket, name = split(uri)
        with suppress(Refusal):
            self.storage.put(bucket, name, content)

    def delete(self, uri: str) -> None:
        """Delete one, where it is and may be deleted."""
        with suppress(Refusal):
            self.storage.buckets.delete(*split(uri))

    def names(self, uri: str) -> Iterator[str]:
        """Give the addresses of what lies below a prefix, which ends where a folder does, in order."""
        bucket, prefix = split(uri)
        try:
            found = self.storage.names(bucket, prefix)
        except Refusal:
            return
        for name in found:
            if not prefix or name == prefix or name.startswith(prefix.rstrip("/") + "/"):
                yield f"gs://{bucket}/{name}"

    def matching(self, uri: str) -> list[str]:
        """Give the addresses that one with wildcards stands for."""
        if "*" not in uri:
            return [] if self.read(uri) is None else [uri]
        return [one for one in self.names(uri.partition("/")[0] + "//" + split(uri)[0]) if fnmatchcase(one, uri)]

    def bring(self, uri: str, folder: Path) -> list[Path]:
        """Lay out what lies below a prefix as files of a folder."""
        brought = []
        for one in self.names(uri):
            inside = one.removeprefix(uri.rstrip("/")).lstrip("/") or one.rpartition("/")[2]
            if inside.endswith("/"):
                continue
            target = folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(self.read(one) or b"")
            brought.append(target)
        return brought


def split(uri: str) -> tuple[str, str]:
    """Give bucket and name of ``gs://bucket/name``; raises Refused."""
    scheme, _, rest = uri.partition("://")
    bucket, _, name = rest.partition("/")
    if scheme != "gs" or not bucket:
        raise invalid(f"{uri!r} is no Cloud Storage URI.")
    return bucket, name
