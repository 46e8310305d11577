"""Wrong requests, and how an endpoint is to take them."""

import json
import struct
import zlib
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from labelloop.endpoint_suite.samples import TEXT, Sample
from labelloop.endpoints.requests.format import Body

HUGE = 20_000
"""Pixels a side of a picture that is small on the wire and 1.2 GB when it is decoded."""


@dataclass(frozen=True, slots=True)
class Bad:
    """One wrong request, and how many inputs it asks for."""

    name: str
    body: Body
    inputs: int = 1


def bad_requests(formats: tuple[str, ...], good: Sample) -> list[Bad]:
    """Make the wrong requests of these request formats; ``good`` is a right input, of pictures a JPEG."""
    raw, instances = (_raw_text, _instances_text) if good.of == TEXT else (_raw, _instances)
    return [
        *(raw(good.content) if "raw" in formats else ()),
        *(instances(good.content) if "instances" in formats else ()),
    ]


_NO_TEXT = b"Ada \xff\xfe Lovelace"


def _raw_text(_: bytes) -> Iterator[Bad]:
    yield Bad("empty body", Body(b"", "text/plain; charset=utf-8"))
    yield Bad("bytes that are no text", Body(_NO_TEXT, "text/plain; charset=utf-8"))


def _instances_text(_: bytes) -> Iterator[Bad]:
    yield Bad("JSON cut off", Body(b'{"instances": [', "application/json"))
    yield Bad("JSON of another form", Body(b'{"nonsense": []}', "application/json"))
    yield Bad("no base64", _json("!"))
    yield Bad("a number as text", Body(b'{"instances": [{"text": 7}]}', "application/json"))
    yield Bad("bytes that are no text among instances", _json(b64encode(_NO_TEXT).decode()))


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


@cache
def huge_png(side: int = HUGE) -> bytes:
    """Write a whole, white PNG of 1 bit a pixel: 260 KB for 400 million pixels."""
    packer, row = zlib.compressobj(1), b"\x00" + b"\xff" * (side // 8)
    rows = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
