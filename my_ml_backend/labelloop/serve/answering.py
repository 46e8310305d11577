"""From a request to its predictions, whatever the shape of the URL it came to."""

from collections.abc import Sequence
from typing import NamedTuple

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from labelloop.serve.admission import Admission
from labelloop.serve.references import References
from labelloop.serve.refusal import BadRequest
from labelloop.serve.registry import Catalog, Choice
from labelloop.serve.wire import Item, Reference, is_json, read_body
from labelloop.types import Failure, Output, Target


class Answered(NamedTuple):
    """One answer for each picture of a request, in order, and the version that gave them."""

    answers: list[Output | Failure]
    version: str


class Answering:
    """Reads the current Flask request, fetches what it only names, and has the model it asks for predict."""

    def __init__(self, catalog: Catalog, admission: Admission, references: References) -> None:
        self._catalog = catalog
        self._admission = admission
        self._references = references

    def answer(self, target: Target, *, json: bool = False) -> Answered:
        """Answer the request; ``json``: its body is JSON, whatever its media type says.

        A picture that stands alone, not in ``instances``, fails the request when it fails. Raises what Catalog.choose
        does, NotReady when no place is free, BadRequest, and RequestEntityTooLarge.
        """
        with self._admission.present():
            body = _read()
            if not (json or is_json(request.mimetype, body)):
                return self._alone(_picture(body), self._catalog.choose(target))
            asked = read_body(body)
            choice = self._catalog.choose(target)
            if isinstance(asked, Reference):
                return self._alone(asked, choice)
            return Answered(self._predict(asked, choice), choice.version)

    def _alone(self, item: Item, choice: Choice) -> Answered:
        (answer,) = self._predict([item], choice)
        if isinstance(answer, Failure):
            raise BadRequest(answer.reason)
        return Answered([answer], choice.version)

    def _predict(self, items: Sequence[Item], choice: Choice) -> list[Output | Failure]:
        pictures = self._fetched(items)
        contents = [one for one in pictures if isinstance(one, bytes)]
        with self._admission.at_work(choice.engine.pixels(contents)):
            answers = choice.engine.predict(contents, choice.version)
        following = iter(answers)
        return [one if isinstance(one, Failure) else next(following) for one in pictures]

    def _fetched(self, items: Sequence[Item]) -> list[bytes | Failure]:
        uris = [item.uri for item in items if isinstance(item, Reference)]
        contents = iter(self._references.read(uris) if uris else ())
        return [next(contents) if isinstance(item, Reference) else item for item in items]


def _read() -> bytes:
    body = request.get_data(cache=False)
    if request.content_length is None and len(body) >= (request.max_content_length or 0):
        # A body sent in chunks is cut off at the limit without a word.
        raise RequestEntityTooLarge
    return body


def _picture(body: bytes) -> bytes:
    if not body:
        raise BadRequest("the body is empty: send a picture")
    return body
