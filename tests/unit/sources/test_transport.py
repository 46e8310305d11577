"""Connections that are kept: which exchange gets which, and what is not used again."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpcore
import pytest

from labelloop.errors import SettingsError
from labelloop.sources.egress import https_proxy, trusted
from labelloop.sources.transport import Connections
from support.misbehaving import Exchange, Misbehaving, Reply, answer, dribble, misbehaving, raw, stall, then_close

OK = answer(b"fine")


def get(subject: Connections, server: Misbehaving, seconds: float = 10.0) -> bytes:
    """Read one answer whole."""
    request = httpcore.Request("GET", f"{server.address}/", headers={"Host": "x"})
    with subject.exchange(request, time.monotonic() + seconds) as response:
        return b"".join(response.iter_stream())


def used(server: Misbehaving) -> list[int]:
    return [request.connection for request in server.requests]


def test_one_connection_serves_exchange_after_exchange() -> None:
    with misbehaving(OK) as server:
        subject = Connections(4, trusted())
        assert [get(subject, server) for _ in range(3)] == [b"fine"] * 3
        assert used(server) == [1, 1, 1]
        subject.close()
        assert get(subject, server) == b"fine"
        assert used(server) == [1, 1, 1, 2]


def test_no_more_stay_open_than_are_allowed() -> None:
    with misbehaving(OK) as first, misbehaving(OK) as second:
        subject = Connections(1, trusted())
        for server in (first, second, first):
            get(subject, server)
        assert (used(first), used(second)) == ([1, 2], [1]), "the second host's connection was in the way"


def test_threads_share_the_connections_that_are_kept() -> None:
    with misbehaving(OK) as server, ThreadPoolExecutor(8) as threads:
        subject = Connections(8, trusted())
        assert list(threads.map(lambda _: get(subject, server), range(80))) == [b"fine"] * 80
        assert set(used(server)) <= set(range(1, 9))


def test_an_answer_that_is_not_read_to_its_end_costs_its_connection() -> None:
    with misbehaving(answer(bytes(1_000_000)), OK) as server:
        subject = Connections(4, trusted())
        request = httpcore.Request("GET", f"{server.address}/", headers={"Host": "x"})
        with subject.exchange(request, time.monotonic() + 10) as response:
            assert response.status == 200
        assert get(subject, server) == b"fine"
        assert used(server) == [1, 2]


def test_a_connection_that_was_closed_while_it_was_kept_is_not_used() -> None:
    with misbehaving(then_close(OK), OK) as server:
        subject = Connections(4, trusted())
        request = httpcore.Request("GET", f"{server.address}/", headers={"Host": "x"})
        with subject.exchange(request, time.monotonic() + 10) as response:
            stream = response.extensions["network_stream"]
            assert b"".join(response.iter_stream()) == b"fine"
        give_up = time.monotonic() + 10
        while not stream.get_extra_info("is_readable"):
            assert time.monotonic() < give_up, "the end of the connection never came"
        assert get(subject, server) == b"fine"
        assert used(server) == [1, 2]


@pytest.mark.parametrize(
    "reply", [stall, dribble(b"HTTP/1.1 200 OK\r\nX: "), dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")]
)
def test_an_exchange_ends_when_its_time_is_over(reply: Reply) -> None:
    start = time.monotonic()
    with misbehaving(reply) as server, pytest.raises(httpcore.TimeoutException):
        get(Connections(4, trusted()), server, seconds=0.15)
    assert time.monotonic() - start < 5


def test_a_new_exchange_on_a_kept_connection_has_its_own_time() -> None:
    def later(exchange: Exchange) -> None:
        exchange.ending.wait(0.3)
        OK(exchange)

    with misbehaving(OK, later) as server:
        subject = Connections(4, trusted())
        get(subject, server, seconds=0.25)
        assert get(subject, server) == b"fine"
        assert used(server) == [1, 1]


def test_a_head_and_its_body_are_both_sent() -> None:
    with misbehaving(OK) as server:
        subject = Connections(4, trusted())
        for size in (0, 10, 3_000_000):
            headers: list[tuple[bytes | str, bytes | str]] = [("Host", "x"), ("Content-Length", str(size))]
            request = httpcore.Request("POST", f"{server.address}/", headers=headers, content=bytes(size))
            with subject.exchange(request, time.monotonic() + 10) as response:
                assert b"".join(response.iter_stream()) == b"fine"
        assert [len(request.body) for request in server.requests] == [0, 10, 3_000_000]


def test_what_is_no_answer_is_an_error_of_the_server() -> None:
    with misbehaving(raw(b"220 mail.example.com ESMTP\r\n\r\n")) as server, pytest.raises(httpcore.RemoteProtocolError):
        get(Connections(4, trusted()), server)


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_certificates_that_cannot_be_had_are_named(tmp_path: Path, content: bytes | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_bytes(content)
    with pytest.raises(SettingsError, match=r"the certificates to trust .*ca\.pem \(AWS_CA_BUNDLE"):
        trusted(str(bundle))


def test_the_proxy_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "inside.example.com")
    assert https_proxy("outside.example.com", 443) == "http://proxy.example.com:3128"
    assert https_proxy("inside.example.com", 443) == ""
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:hunter2@proxy.example.com")
    with pytest.raises(SettingsError, match="a proxy of no known kind: expected http://host:port"):
        https_proxy("outside.example.com", 443)
