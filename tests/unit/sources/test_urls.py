"""What is Label Studio's own, and what must not be taken for it."""

import pytest

from labelloop.errors import MediaError
from labelloop.sources.urls import Origin, cleaned, data_of, same_address, shown


@pytest.mark.parametrize(
    "url",
    [
        "http://ls.example:8080/data/upload/1/a.png",
        "HTTP://LS.example:8080",
        "http://someone:hush@ls.example:8080/data/a.png",
    ],
)
def test_own_addresses(url: str) -> None:
    assert Origin.of("http://ls.example:8080/").contains(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://ls.example:8080/data/a.png",
        "http://ls.example/data/a.png",
        "http://ls.example:8081/data/a.png",
        "http://ls.example.evil.example:8080/data/a.png",
        "http://ls.example:8080@evil.example/data/a.png",
        "http://evil.example/?http://ls.example:8080/",
        "http://ls.example:80801/",
    ],
)
def test_foreign_addresses(url: str) -> None:
    try:
        contained = Origin.of("http://ls.example:8080").contains(url)
    except MediaError:
        return
    assert not contained


def test_default_ports_are_the_same_as_none() -> None:
    assert Origin.of("https://ls.example").contains("https://ls.example:443/x")


def test_a_prefix_is_part_of_the_origin() -> None:
    home = Origin.of("https://example.com/studio/")
    assert home.contains("https://example.com/studio/data/a.png")
    assert not home.contains("https://example.com/studio-two/a.png")
    assert not home.contains("https://example.com/other/a.png")


@pytest.mark.parametrize("path", ["/data/a.png", "/studio/data/a.png"])
def test_a_prefix_is_not_written_twice(path: str) -> None:
    assert Origin.of("https://example.com/studio").address_of(path) == "https://example.com:443/studio/data/a.png"


def test_an_ipv6_host_keeps_its_brackets() -> None:
    assert Origin.of("http://[::1]:8080").address_of("/a") == "http://[::1]:8080/a"


@pytest.mark.parametrize("url", ["ftp://host/a", "http://", "/data/a", "data:image/png;base64,AAAA", "http://[::1"])
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(MediaError):
        Origin.of(url)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://me:hush@host:1/a/b.png?X-Amz-Signature=hush#hush", "https://host:1/a/b.png"),
        ("s3://bucket/a b.png", "s3://bucket/a b.png"),
        ("/data/local-files/?d=a.png", "/data/local-files/"),
        ("data:image/png;base64,AAAA", "data:image/png;base64,…"),
        (" DATA:image/png;base64,AAAA", "DATA:image/png;base64,…"),
        ("data:hush", "data:…"),
        ("data:" + "hush" * 100 + ",", "data:…"),
        ("http://[::1", "an address that cannot be parsed"),
    ],
)
def test_shown_addresses_hold_no_secret(url: str, text: str) -> None:
    assert shown(url) == text


def test_shown_addresses_are_short() -> None:
    assert len(shown("http://host/" + "a" * 5000)) == 200


def test_the_same_address_is_known_however_it_is_written() -> None:
    assert same_address("HTTP://Host:9090/", "http://host:9090")
    assert not same_address("http://host:9090/a", "http://host:9090/b")


@pytest.mark.parametrize(
    ("address", "read"),
    [
        (" http://host/a.jpg", "http://host/a.jpg"),
        ("http://host/a.jpg\r\n", "http://host/a.jpg"),
        ("\t\x00http://host/a b\n.jpg\x1f", "http://host/a b.jpg"),
        ("HTTPS://Host/A", "https://Host/A"),
        (" S3://bucket/Key ", "s3://bucket/Key"),
        ("/data/upload/7/a.jpg\n", "/data/upload/7/a.jpg"),
        ("\u00a0/data/a\u2028", "\u00a0/data/a\u2028"),
        ("", ""),
    ],
)
def test_an_address_is_read_as_browsers_do(address: str, read: str) -> None:
    assert cleaned(address) == read


@pytest.mark.parametrize(
    ("url", "content"),
    [
        ("data:image/png;base64,iVBORw0KGgo=", b"\x89PNG\r\n\x1a\n"),
        ("data:image/png;base64,iVBORw0KGgo", b"\x89PNG\r\n\x1a\n"),
        ("data:image/png;name=a;BASE64,iVBO Rw0K%0AGgo%3D", b"\x89PNG\r\n\x1a\n"),
        ("data:image/svg+xml,%3Csvg/%3E#top", b"<svg/>"),
        ("data:,a%2Cb,c", b"a,b,c"),
        ("data:;base64,", b""),
    ],
)
def test_an_address_may_be_its_own_data(url: str, content: bytes) -> None:
    assert data_of(url, 100) == content


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:image/png;base64", "a comma is missing"),
        ("data:;base64,hush!", "not valid base64"),
        ("data:;base64,hushy", "not valid base64"),
        ("data:;base64," + "hush" * 100, "it has 300 bytes; at most 100 are read"),
        ("data:," + "hush" * 100, "it has 400 bytes; at most 100 are read"),
    ],
)
def test_data_that_cannot_be_read_is_not_shown(url: str, reason: str) -> None:
    with pytest.raises(MediaError, match=reason) as refused:
        data_of(url, 100)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("begins", ["iVBORw0KGgo", "/9j/4AAQSkZJRg", " UklGR"])
def test_a_picture_that_stands_as_bare_base64_in_a_task_is_in_no_message(begins: str) -> None:
    said = shown(begins + "Ab3+" * 100)
    assert "Ab3+" not in said
    assert "without data:image/png;base64," in said
    assert shown(f"/data/upload/{'a' * 150}/{'b' * 60}.jpg").startswith("/data/upload/aaa")
