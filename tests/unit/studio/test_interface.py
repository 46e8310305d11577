"""Files as object tags show them, and those that are recognisably none."""

import pytest

from labelloop.errors import MediaError
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.studio.interface import LabelStudioInterface, shown_instead

SVG = b'<?xml version="1.0"?><!-- made by hand --><!DOCTYPE svg><svg xmlns="http://www.w3.org/2000/svg"/>'

HTML = "an HTML page, perhaps a login page"


@pytest.mark.parametrize("tag", ["Image", "Audio", "Video", "PDF"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \n\t", "empty"),
        (b"\0\0\0\0", "empty"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", HTML),
        (b"\xef\xbb\xbf\n  <HTML>", HTML),
        (b"<!-- a comment --><p>x</p>", HTML),
        ("<html>".encode("utf-16"), HTML),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
        (b'{"token": "abc"}', "JSON"),
        (b' [{"id": 1}]', "JSON"),
        (b"<!DOCTYPE html><html><header><svg viewBox='0 0 1 1'></svg></header></html>", HTML),
        ("<p>Zugriff verweigert für Gäste</p>".encode("latin-1"), HTML),
        ('{"detail": "größer"}'.encode("latin-1"), "JSON"),
        (b"null", "JSON"),
        (b'"nothing here"', "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"a": "' + "\u00fc".encode() * 70_000, "JSON"),
    ],
)
def test_what_stands_for_a_file_that_could_not_be_had(tag: str, content: bytes, said: str) -> None:
    assert shown_instead(tag, content) == said


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0\x00\x10JFIF",
        b"\xff\xfe\x90\x00 sound",
        b"RIFF\x24\x08\x00\x00WAVEfmt ",
        b"ID3\x04\x00",
        b"\x00\x00\x00\x1cftypheic",
        b"II*\x00",
        b"%PDF-1.7",
        b"P3 1 1 255 0 0 0",
        b"\x00" * 128 + b"DICM",
        SVG,
        b"<svg:svg xmlns:svg='http://www.w3.org/2000/svg'/>",
        b"<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'http://x/svg11.dtd' [<!ENTITY a 'b'>]>\n<svg width='1'/>",
        b"[\x00\x01\x02 a format that begins like JSON",
        b"an unknown format",
    ],
)
def test_formats_that_only_an_endpoint_may_know_are_let_through(content: bytes) -> None:
    assert shown_instead("Image", content) is None


@pytest.mark.parametrize("tag", ["Text", "HyperText"])
def test_text_is_not_judged(tag: str) -> None:
    assert shown_instead(tag, b"<html>") is None


def test_a_text_begins_behind_its_byte_order_mark() -> None:
    # Browsers count characters without it, and so do the spans that annotators draw and that training learns.
    config = (
        '<View><Text name="t" value="$file" valueType="url"/><Labels name="s" toName="t"><Label value="A"/></Labels>'
        "</View>"
    )
    interface = LabelStudioInterface.of(config, Media(Settings(), None), 1)
    task = {"id": 1, "data": {"file": "data:text/plain,%EF%BB%BFAda is here"}}
    assert interface.input_of(task, None, referable=False).text == "Ada is here"


@pytest.mark.parametrize("listed", ["gs://pictures", "*"])
def test_an_object_of_another_bucket_is_not_handed_on(listed: str) -> None:
    config = '<View><Image name="i" value="$image"/><Choices name="c" toName="i"><Choice value="a"/></Choices></View>'
    interface = LabelStudioInterface.of(config, Media(Settings(buckets=(listed,)), None), 1)
    ours = {"id": 1, "data": {"image": "gs://pictures/a.png"}}
    assert interface.input_of(ours, None, referable=True).uri == "gs://pictures/a.png"
    other = {"id": 1, "data": {"image": "s3://private/a.png"}}
    if listed == "*":
        assert interface.input_of(other, None, referable=True).uri == "s3://private/a.png"
        return
    with pytest.raises(MediaError, match="was not handed on: s3://private is neither"):
        interface.input_of(other, None, referable=True)
