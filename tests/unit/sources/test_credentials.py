"""Credentials are looked up once, for all threads, and a failure is not looked up again at once."""

from collections.abc import Iterator

import pytest

from labelloop.errors import CredentialsError
from labelloop.sources.credentials import REST, Lookup


def test_what_was_found_is_kept_while_it_is_good() -> None:
    found = iter("abc")
    good = {"a"}
    subject = Lookup(lambda: next(found), good=good.__contains__)
    assert [subject.get(), subject.get()] == ["a", "a"]
    good.clear()
    assert subject.get() == "b"
    good.add("b")
    subject.forget()
    assert subject.get() == "c"


def test_a_failure_is_repeated_for_a_while_without_a_look() -> None:
    now = [0.0]
    looks: Iterator[int] = iter(range(9))
    there: list[str] = []

    def find() -> str:
        look = next(looks)
        if not there:
            raise CredentialsError(f"look {look} found nothing")
        return there[0]

    subject = Lookup(find, clock=lambda: now[0])
    for moment, look in ((0.0, 0), (REST - 0.1, 0), (REST, 1)):
        now[0] = moment
        with pytest.raises(CredentialsError, match=f"look {look} found nothing"):
            subject.get()
    there.append("it")
    now[0] += REST
    assert subject.get() == "it"
