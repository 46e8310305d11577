"""Labelbox's signatures: the vectors of its contract, and what is refused."""

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from labelloop.labelbox.signing import SHA1, SHA256, VECTOR_BODY, VECTOR_SECRET, VECTORS, refusal, signature
from support.examples import examples

SECRETS = st.text(st.characters(codec="utf-8"), min_size=1)


@pytest.mark.parametrize(("body", "header", "value"), VECTORS)
def test_the_vectors_are_made_and_taken(body: bytes, header: str, value: str) -> None:
    assert signature(VECTOR_SECRET, body, header) == value
    assert not refusal(Headers([(header, value)]), body, VECTOR_SECRET)
    assert not refusal(Headers([(header.lower(), value)]), body, VECTOR_SECRET)


def test_the_body_of_the_vectors_is_the_contracts() -> None:
    assert len(VECTOR_BODY) == 174


@given(secret=SECRETS, body=st.binary(), more=st.binary(min_size=1))
@settings(max_examples=examples(50))
def test_the_signature_is_of_all_bytes_and_of_no_others(secret: str, body: bytes, more: bytes) -> None:
    for header, digest in ((SHA1, hashlib.sha1), (SHA256, hashlib.sha256)):
        theirs = f"{digest().name}={hmac.new(secret.encode(), body, digest).hexdigest()}"
        headers = Headers([(header, theirs)])
        assert not refusal(headers, body, secret)
        assert header in refusal(headers, body + more, secret)
        assert header in refusal(headers, body, secret + "x")


@given(wrong=st.text(st.characters(codec="latin-1"), min_size=1))
@settings(max_examples=examples(50))
def test_what_is_no_signature_is_refused_and_never_raises(wrong: str) -> None:
    for header in (SHA1, SHA256):
        assert header in refusal({header: wrong}, b"{}", VECTOR_SECRET)


@pytest.mark.parametrize(
    ("sha1", "sha256", "named"),
    [
        (VECTORS[1][2], VECTORS[2][2], ""),
        (VECTORS[1][2], "sha256=00", SHA256),
        ("sha1=00", VECTORS[2][2], SHA1),
        ("sha1=00", "sha256=00", SHA1),
        (VECTORS[2][2], VECTORS[1][2], SHA1),
    ],
)
def test_one_right_signature_of_two_is_not_enough(sha1: str, sha256: str, named: str) -> None:
    reason = refusal({SHA1: sha1, SHA256: sha256}, VECTOR_BODY, VECTOR_SECRET)

    assert bool(reason) == bool(named)
    assert f"the {named} header" in reason or not named


@pytest.mark.parametrize("headers", [{}, {SHA1: ""}, {SHA1: "", SHA256: ""}, {"X-Signature": VECTORS[1][2]}])
def test_a_request_without_a_signature_is_told_what_to_do(headers: dict[str, str]) -> None:
    assert "carries no X-Hub-Signature" in refusal(headers, VECTOR_BODY, VECTOR_SECRET)


def test_no_refusal_shows_secret_or_signature() -> None:
    reason = refusal({SHA1: "sha1=00"}, VECTOR_BODY, VECTOR_SECRET)

    assert VECTOR_SECRET not in reason
    assert VECTORS[1][2].partition("=")[2] not in reason


def test_signatures_are_compared_in_constant_time_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac_compare(one, other)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr("hmac.compare_digest", spy)
    refusal({SHA1: "sha1=00", SHA256: "sha256=00"}, VECTOR_BODY, VECTOR_SECRET)

    right = {value.encode() for _, _, value in VECTORS[1:]}
    assert {expected for _, expected in compared} == right
    assert {given for given, _ in compared} == {b"sha1=00", b"sha256=00"}
