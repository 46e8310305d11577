"""Failed logins: how many of a client are looked at, whom that hits, and what is kept in mind of it."""

import pytest
from flask import Flask, Request
from werkzeug.exceptions import TooManyRequests, Unauthorized
from werkzeug.test import EnvironBuilder

from labelloop.web import attempts as module
from labelloop.web.attempts import Attempts, Client

SOMEBODY, OTHER = Client("login", "192.0.2.1"), Client("login", "192.0.2.2")


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def fails(attempts: Attempts, client: Client = SOMEBODY) -> bool:
    """Try a wrong login; whether it was looked at."""
    try:
        attempts.allow(client)
    except TooManyRequests:
        return False
    assert isinstance(attempts.fail(client, Unauthorized()), Unauthorized)
    return True


def test_so_many_failures_are_looked_at_and_then_one_now_and_then(clock: Clock) -> None:
    attempts = Attempts(12)
    assert [fails(attempts) for _ in range(14)] == [True] * 12 + [False] * 2
    with pytest.raises(TooManyRequests) as refusal:
        attempts.allow(SOMEBODY)
    assert refusal.value.retry_after == 6
    clock.now += 5.1
    assert [fails(attempts), fails(attempts)] == [True, False]
    clock.now += 3600
    assert [fails(attempts) for _ in range(13)] == [True] * 12 + [False]


def test_nobody_else_is_hit(clock: Clock) -> None:
    attempts = Attempts(2)
    assert [fails(attempts) for _ in range(3)] == [True, True, False]
    assert fails(attempts, OTHER)
    assert fails(attempts, SOMEBODY._replace(kind="another login"))


def test_who_was_right_is_looked_at_whatever_others_at_the_address_do(clock: Clock) -> None:
    attempts = Attempts(2)
    attempts.succeed(SOMEBODY)
    for _ in range(5):
        attempts.allow(SOMEBODY)
        refusal = attempts.fail(SOMEBODY, Unauthorized())
    assert isinstance(refusal, TooManyRequests), "what fails is told so all the same"
    attempts.allow(SOMEBODY)


def test_no_more_is_kept_than_so_many_clients(clock: Clock) -> None:
    attempts = Attempts(1, most=10)
    for number in range(1000):
        client = Client("login", str(number))
        attempts.succeed(client)
        attempts.fail(client, Unauthorized())
    assert len(attempts._left) == len(attempts._known) == 10


def test_zero_is_no_limit_and_failures_are_told() -> None:
    told: list[tuple[str, bool]] = []
    attempts = Attempts(0, lambda kind, limited: told.append((kind, limited)))
    assert all(fails(attempts) for _ in range(100))
    assert told == [("login", False)] * 100
    limited = Attempts(1, lambda kind, limited: told.append((kind, limited)))
    fails(limited)
    fails(limited)
    assert told[100:] == [("login", False), ("login", True)]


@pytest.mark.parametrize(
    ("address", "known_by"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a socket file", "a socket file"),
    ],
)
def test_a_client_is_known_by_its_address_or_its_network(address: str, known_by: str) -> None:
    environ = EnvironBuilder(environ_base={"REMOTE_ADDR": address}).get_environ()
    asking: Request = Flask("test").request_class(environ)
    assert Client.of("login", asking) == Client("login", known_by)
