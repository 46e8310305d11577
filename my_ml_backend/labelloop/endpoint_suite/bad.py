"""Requests that an endpoint must refuse: each is wrong in one way."""

import json
import struct
import zlib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass

from labelloop.endpoints.requests import Body

HUGE = 20_000
"""Pixels a side of a picture that is small on the wire and 1.2 GB when it is decoded."""


@dataclass(frozen=True, slots=True)
class Bad:
    """One wrong request, and how many pictures it asks for."""

    name: str
    body: Body
    pictures: int = 1


def bad_requests(formats: tuple[str, ...], picture: bytes) -> list[Bad]:
    """Make the wrong requests of these request formats; ``picture`` is a good JPEG."""
    return [*(_raw(picture) if "raw" in formats else ()), *(_instances(picture) if "instances" in formats else ())]


def _raw(picture: bytes) -> Iterator[Bad]:
    yield Bad("empty body", Body(b"", "image/jpeg"))
    yield Bad("text as picture", Body(b"this is no picture", "image/jpeg"))
    yield Bad("truncated JPEG", Body(picture[: len(picture) // 2], "image/jpeg"))
    yield Bad("huge picture", Body(huge_png(), "image/png"))


def _instances(picture: bytes) -> Iterator[Bad]:
    yield Bad("JSON cut off", Body(b'{"instances": [', "application/json"))
    yield Bad("JSON of another form", Body(b'{"nonsense": []}', "application/json"))
    yield Bad("no base64", _json("!"))
    yield Bad("truncated JPEG among instances", _json(b64encode(picture[: len(picture) // 2]).decode()))


def _json(text: str) -> Body:
    return Body(json.dumps({"instances": [{"b64": text}]}).encode(), "application/json")


def huge_png(side: int = HUGE) -> bytes:
    """Write a whole, white PNG of 1 bit a pixel: 260 KB for 400 million pixels."""
    packer, row = zlib.compressobj(1), b"\x00" + b"\xff" * (side // 8)
    rows = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
