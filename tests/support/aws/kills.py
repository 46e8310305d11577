"""This process as it dies between two calls of AWS's: for finding out what is left behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from botocore.client import BaseClient

from support.aws.front import OUR_OWN
from support.crash_store import Killed


@contextmanager
def dying_at(number: int, *, after: bool = False) -> Iterator[list[str]]:
    """Raise Killed at the call with this number, from 0, before or after it is done, and at all later ones.

    Gives the names of the calls that were done. Those of the stand-in's own clients do not count.
    """
    done: list[str] = []
    making = BaseClient._make_api_call

    def make(client: Any, operation: str, arguments: Any) -> Any:
        if OUR_OWN in (client.meta.config.user_agent_extra or ""):
            return making(client, operation, arguments)
        if len(done) > number or (len(done) == number and not after):
            raise Killed
        answer = making(client, operation, arguments)
        done.append(operation)
        if len(done) > number:
            raise Killed
        return answer

    with patch.object(BaseClient, "_make_api_call", make):
        yield done
