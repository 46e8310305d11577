"""What a stand-in for a public container is: how it reads a request, what it answers, and what a user should get."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from labelloop.types import Answer, Input
from support.answered import png
from support.misbehaving import Exchange, Reply, answer

PICTURE = Input(png(200, 100), "image/png")
TEXT = Input(text="Ada flew to Paris")


class NotAccepted(Exception):
    """The real container would refuse the request; the text is its reason."""


@dataclass(frozen=True)
class Received:
    """One request as the container sees it; header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip()

    def json(self) -> Any:
        if self.media_type != "application/json":
            raise NotAccepted(f"unsupported content type {self.media_type!r}")
        return json.loads(self.body)

    def picture(self, *media_types: str) -> tuple[int, int]:
        """Decode the body, sent under one of the media types (any picture's if none is given); gives its size."""
        if self.media_type not in media_types and (media_types or not self.media_type.startswith("image/")):
            raise NotAccepted(f"unsupported content type {self.media_type!r}")
        return picture_size(self.body)


def picture_size(content: bytes) -> tuple[int, int]:
    """Decode a picture whole, as a container does; gives width and height."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            return image.size
    except Exception as error:
        raise NotAccepted(f"cannot decode {len(content)} bytes: {error}") from error


@dataclass(frozen=True)
class Container:
    """A stand-in. ``name`` is what the table of containers in docs/formats.md calls it.

    ``serve`` reads a request strictly (raises NotAccepted) and gives what the container answers: JSON, or bytes as they
    are under ``answers_as``. ``expected`` is the right answer; its version is not compared. ``options`` are keys of
    extra_params that its user has to set (never a mapping), ``headers`` are LABELLOOP_ENDPOINT_HEADERS; ``path`` may
    have a query.
    """

    name: str
    sent: Input
    serve: Callable[[Received], Any]
    expected: Answer
    path: str = "/predict"
    options: Mapping[str, Any] = field(default_factory=dict)
    headers: str = ""
    answers_as: str = "application/json"
    label_config: str | None = None

    def reply(self, exchange: Exchange) -> None:
        """Answer one request."""
        self._reply(exchange)(exchange)

    def _reply(self, exchange: Exchange) -> Reply:
        method, path, _ = exchange.request.line.split(" ")
        if method != "POST":
            return answer({"error": f"{method} is not served"}, 405)
        try:
            said = self.serve(Received(path, exchange.request.headers, exchange.request.body))
        except NotAccepted as refused:
            return answer({"error": str(refused)}, 415)
        return answer(said, headers=f"Content-Type: {self.answers_as}\r\n")
