"""The way out: a real proxy between an endpoint and us, and certificates that the environment names."""

import ssl
from pathlib import Path

import pytest

from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.failures import Denied, TooSlow, Unwell
from labelloop.endpoints.spec import EndpointSpec
from labelloop.types import Answer, Failure, Input, Output, Target
from support.aws_wire import aws_account
from support.google_wire import certificate
from support.misbehaving import good, misbehaving, raw, reset, stall, then_close
from support.tunnel import tunnel

CAT = Output("cat", 0.75, {"cat": 0.75, "dog": 0.25}, "v1")
ONE = [Input(b"a picture", "image/png")]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return certificate(tmp_path_factory.mktemp("keys"))


@pytest.fixture(autouse=True)
def direct(keys: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, and the test's certificate trusted, but for what a test says."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("AWS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(keys[0]))


@pytest.fixture
def tls(keys: tuple[Path, ssl.SSLContext]) -> ssl.SSLContext:
    return keys[1]


def ask(address: str, timeout: float = 10.0) -> Answer | Failure:
    (found,) = open_endpoint(EndpointSpec(f"{address}/score", timeout=timeout)).invoke(ONE, Target())
    return found


def test_https_goes_through_the_proxy_and_keeps_its_connection(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with misbehaving(good, good, then_close(good), good, tls=tls) as server, misbehaving(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:hunter%402@127.0.0.1:{proxy.port}")
        headers = (("Authorization", "Bearer abc"),)
        subject = open_endpoint(EndpointSpec(f"{server.address}/score", headers=headers))
        for _ in range(4):
            assert subject.invoke(ONE, Target()) == [CAT]
        assert {request.line.rpartition(" ")[0] for request in proxy.requests} == {f"CONNECT 127.0.0.1:{server.port}"}
        assert len(proxy.requests) == 2, "the second when the server had closed the first"
        assert {request.headers["proxy-authorization"] for request in proxy.requests} == {"Basic bWU6aHVudGVyQDI="}
        assert all("authorization" not in request.headers for request in proxy.requests)
        assert all("proxy-authorization" not in request.headers for request in server.requests)
        assert server.requests[0].line == "POST /score HTTP/1.1"


def test_a_host_of_no_proxy_is_asked_directly(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving(good, tls=tls) as server, misbehaving(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.address)
        monkeypatch.setenv("NO_PROXY", "example.com, 127.0.0.1")
        assert ask(server.address) == CAT
        assert proxy.requests == []


def test_plain_http_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving(good) as server, misbehaving(tunnel) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.address)
        monkeypatch.setenv("HTTPS_PROXY", proxy.address)
        assert ask(server.address) == CAT
        assert proxy.requests == []


def test_a_proxy_that_refuses_is_named_without_its_password(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = then_close(raw(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"))
    with misbehaving(good, tls=tls) as server, misbehaving(refusal) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"me:hunter2@127.0.0.1:{proxy.port}")
        with pytest.raises(Unwell, match=r"through the proxy of HTTPS_PROXY: .*407 Proxy Auth") as refused:
            ask(server.address)
        assert server.requests == []
    with pytest.raises(Unwell, match="through the proxy of HTTPS_PROXY: Connection refused"):
        ask("https://127.0.0.1:1")
    assert "hunter2" not in str(refused.value)


def test_a_tunnel_that_breaks_is_dug_again(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving(good, reset, good, tls=tls) as server, misbehaving(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.address)
        subject = open_endpoint(EndpointSpec(f"{server.address}/score"))
        assert [subject.invoke(ONE, Target()) for _ in range(2)] == [[CAT], [CAT]]
        assert len(proxy.requests) == 2


def test_a_proxy_that_stalls_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving(stall) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.address)
        with pytest.raises(TooSlow, match="in time"):
            ask("https://127.0.0.1:1", timeout=0.2)


@pytest.mark.parametrize("scheme", ["socks5", "https"])
def test_a_proxy_of_another_kind_is_refused(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://me:hunter2@127.0.0.1:1080")
    with pytest.raises(Denied, match="HTTPS_PROXY names a proxy of no known kind") as refused:
        ask("https://127.0.0.1:1")
    assert "hunter2" not in str(refused.value)


def test_a_certificate_that_nobody_named_is_not_trusted(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    with misbehaving(good, tls=tls) as server:
        with pytest.raises(Unwell, match="certificate verify failed"):
            ask(server.address)
        monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "none.pem"))
        with pytest.raises(Denied, match=r"certificates to trust are not there: .*none\.pem"):
            ask(server.address)
        assert server.requests == []


def test_sagemaker_trusts_what_aws_is_told_to(
    keys: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trusted, tls = keys
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with misbehaving(good, tls=tls) as server:
        aws_account(monkeypatch, sagemaker_runtime=server.address)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted))
        assert open_endpoint(EndpointSpec("sagemaker://scenes")).invoke(ONE, Target()) == [CAT]
