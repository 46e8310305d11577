"""Addresses: how they are shown and compared, and which belong to one service, as to Label Studio.

What belongs to it is told by the same parser that decides where a request goes.
"""

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import unquote_to_bytes, urlsplit, urlunsplit

from labelloop.errors import ManifestError, MediaError, TooLarge
from labelloop.types import TaskKey

if TYPE_CHECKING:
    import httpx

_LONGEST = 200
_BASE64 = re.compile(r"\s*[A-Za-z0-9+/]{400}")
"""What no path looks like, which has a dot, a dash, an underscore or a blank somewhere before."""


def shown(url: str) -> str:
    """Make an address fit for logs and messages: without user info, query and fragment, at most 200 characters.

    Of one that is its own data, only what it says of its type; of bare base64, which is none, that it is that.
    """
    if _BASE64.match(url):
        return f"base64 of {len(url)} characters, without data:image/png;base64, or the like before it,"
    if (head := url[:_LONGEST].lstrip()).lower().startswith("data:"):
        said, comma, _ = head.partition(",")
        return f"{said},…" if comma else "data:…"
    try:
        parts = urlsplit(url)
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return "an address that cannot be parsed"
    return bare if len(bare) <= _LONGEST else bare[: _LONGEST - 1] + "…"


_BLANK = "".join(map(chr, range(33)))
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def cleaned(address: str) -> str:
    """Read an address as browsers do (URL Standard, section 4.4): without blanks around it, tabs and line breaks.

    Its scheme is in small letters.
    """
    bare = address.strip(_BLANK).replace("\t", "").replace("\n", "").replace("\r", "")
    scheme = _SCHEME.match(bare)
    return bare if scheme is None or scheme[0].islower() else scheme[0].lower() + bare[scheme.end() :]


def data_of(url: str, most: int) -> bytes:
    """Decode a ``data:`` address (RFC 2397), base64 or percent-encoded, of at most ``most`` bytes.

    Raises MediaError, which never shows the data.
    """
    head, comma, data = url.partition(",")
    if not comma:
        raise MediaError("it is no data: address: a comma is missing before its data")
    data = data.partition("#")[0]
    if not re.search(r"; *base64$", head, re.IGNORECASE):
        content = unquote_to_bytes(data)
    else:
        # Forgiving, as browsers are (Infra Standard, "forgiving-base64 decode"): blanks and a missing end are no harm.
        letters = b"".join(unquote_to_bytes(data).split()).rstrip(b"=")
        if len(letters) * 3 // 4 > most:
            raise TooLarge(most, len(letters) * 3 // 4)
        try:
            content = base64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
        except ValueError:
            raise MediaError("its data is not valid base64") from None
    if len(content) > most:
        raise TooLarge(most, len(content))
    return content


def same_address(one: str, other: str) -> bool:
    """Whether two addresses name the same place: scheme and host in any case, trailing slashes ignored."""
    return _canonical(one) == _canonical(other)


def _canonical(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url.strip())
    return parts.scheme.lower(), parts.netloc.lower(), parts.path.rstrip("/")


def local_file(uri: str) -> Path | None:
    """Give the path of a ``file://`` address, None for any other."""
    return Path(path_of(uri)) if uri.startswith("file://") else None


def path_of(uri: str) -> str:
    """Give the path of a ``file://`` address of this machine; raises ManifestError for another machine's."""
    host, slash, path = uri[len("file://") :].partition("/")
    if host not in ("", "localhost") or not slash:
        raise ManifestError(f"{shown(uri)!r} is not of the form file:///folder/name")
    return os.fsdecode(unquote_to_bytes(slash + path))


_PORTS = {"http": 80, "https": 443}


@lru_cache(maxsize=256)
def parse(url: str) -> "httpx.URL":
    """Parse an http(s) address, international names and spaces made fit to send; raises MediaError for any other.

    The last ones are kept: who reads a picture looks at its address several times.
    """
    # Imported when asked for: it takes a tenth of a second, and most who show an address send nothing.
    import httpx

    try:
        target = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise MediaError(f"its address is not valid ({error})") from error
    if target.scheme not in _PORTS or not target.host:
        raise MediaError("its address is not of the form http://host/path or https://host/path")
    return target


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host, port and path prefix of one service."""

    scheme: str
    host: str
    port: int
    prefix: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Read the origin off a service's address; raises MediaError when it is no http(s) address."""
        target = parse(url)
        port = target.port or _PORTS[target.scheme]
        return cls(target.scheme, target.raw_host.decode("ascii"), port, target.path.rstrip("/"))

    @property
    def root(self) -> str:
        """The address of the host, without the prefix."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def shares_host(self, url: str) -> bool:
        """Whether an address has this service's scheme, host and port; raises MediaError when it is none."""
        other = Origin.of(url)
        return (other.scheme, other.host, other.port) == (self.scheme, self.host, self.port)

    def contains(self, url: str) -> bool:
        """Whether an address lies in this service; raises MediaError when it is none."""
        return self.shares_host(url) and f"{Origin.of(url).prefix}/".startswith(f"{self.prefix}/")

    def address_of(self, path: str) -> str:
        """Give the address of a path (``/...``) as the service writes it, with its prefix or without."""
        if self.prefix and path.startswith(f"{self.prefix}/"):
            return self.root + path
        return self.root + self.prefix + path


class Home(Protocol):
    """The server whose tasks these are, whose files only its own token opens; without one, it cannot be read.

    ``remedies`` says more of what to do about its refusals, by status. ``task`` is the one that shows a file: None for
    an address out of a list of one's own.
    """

    @property
    def origin(self) -> Origin:
        """Where it is; the guard lets it be a private address."""

    @property
    def remedies(self) -> Mapping[int, str]:
        """What else to say to the user about an answer."""

    def plain(self, url: str, task: TaskKey | None) -> tuple[str, bool]:
        """Give an address of its host in the form that is sent, and whether the token may go there.

        Raises MediaError for an address with more than one possible meaning.
        """

    def resolving(self, uri: str, task: int) -> str:
        """Give the address at which it resolves a task's cloud address with the identity of its storage."""

    def buckets(self, project: int) -> frozenset[str]:
        """Name the buckets that a project's data are read from, ``s3://bucket``; raises StudioError."""

    def headers(self) -> Mapping[str, str]:
        """Give the headers that carry its token; raises StudioError where it gives none."""
