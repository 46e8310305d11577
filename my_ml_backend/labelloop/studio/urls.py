"""Addresses in messages and comparisons of them."""

from urllib.parse import urlsplit, urlunsplit

_LONGEST = 200


def shown(url: str) -> str:
    """Make an address fit for logs and messages: without user info, query and fragment, at most 200 characters."""
    try:
        parts = urlsplit(url)
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    except ValueError:
        return "an address that cannot be parsed"
    if parts.scheme == "data":
        bare = bare.partition(",")[0] + ",…"
    return bare if len(bare) <= _LONGEST else bare[: _LONGEST - 1] + "…"


def same_address(one: str, other: str) -> bool:
    """Whether two addresses name the same place: scheme and host in any case, trailing slashes ignored."""
    return _canonical(one) == _canonical(other)


def _canonical(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url.strip())
    return parts.scheme.lower(), parts.netloc.lower(), parts.path.rstrip("/")
