"""This process as it dies between two calls of Google's: for finding out what is left behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from labelloop.sources.google_api import GoogleApi, GoogleReply
from support.crash_store import Killed


@contextmanager
def dying_at(number: int, *, after: bool = False) -> Iterator[list[str]]:
    """Raise Killed at the request with this number, from 0, before or after it is done, and at all later ones.

    Gives the requests that were done: ``POST /v1/projects/...``.
    """
    done: list[str] = []
    sending = GoogleApi.send

    def send(api: GoogleApi, method: str, target: str, *arguments: Any, **named: Any) -> GoogleReply:
        if len(done) > number or (len(done) == number and not after):
            raise Killed
        reply = sending(api, method, target, *arguments, **named)
        done.append(f"{method} {target.partition('?')[0]}")
        if len(done) > number:
            raise Killed
        return reply

    with patch.object(GoogleApi, "send", send):
        yield done
