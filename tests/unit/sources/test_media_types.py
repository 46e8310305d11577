"""What a file is by its bytes, whatever it is called, and by its name where its bytes do not tell."""

import io
import time
import wave

import pytest
from PIL import Image

from labelloop.sources.media import document_in, ending_of, media_type_of, named_type


def picture(form: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), "red").save(buffer, form)
    return buffer.getvalue()


def sound() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(1600))
    return buffer.getvalue()


def boxed(brand: bytes, *others: bytes) -> bytes:
    """The first box of an ISO base media file."""
    brands = brand + b"\0\0\2\0" + b"".join(others)
    return (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands + b"\0\0\0\x08free"


KINDS: list[tuple[bytes, str]] = [
    (picture("JPEG"), "image/jpeg"),
    (b"\xff\xd8\xff\xe1\x00\x10Exif\0\0", "image/jpeg"),
    (picture("PNG"), "image/png"),
    (picture("WEBP"), "image/webp"),
    (picture("GIF"), "image/gif"),
    (picture("BMP"), "image/bmp"),
    (picture("TIFF"), "image/tiff"),
    (b"MM\0*\0\0\0\x08", "image/tiff"),
    (picture("AVIF"), "image/avif"),
    (picture("PPM"), "image/x-portable-pixmap"),
    (b"P5 3 3 255\n", "image/x-portable-graymap"),
    (picture("JPEG2000"), "image/jp2"),
    (picture("ICO"), "image/x-icon"),
    (b"8BPS\0\x01" + bytes(20), "image/vnd.adobe.photoshop"),
    (boxed(b"heic", b"mif1", b"heic"), "image/heic"),
    (boxed(b"mif1", b"mif1", b"heic"), "image/heic"),
    (boxed(b"mif1", b"avif", b"mif1"), "image/avif"),
    (boxed(b"mif1", b"miaf"), "image/heif"),
    (b'<?xml version="1.0"?><!-- drawn --><svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
    (b"%PDF-1.7\n", "application/pdf"),
    (bytes(128) + b"DICM", "application/dicom"),
    (sound(), "audio/wav"),
    (b"fLaC\0\0\0\x22", "audio/flac"),
    (b"ID3\x03\0\0\0\0\0\x00", "audio/mpeg"),
    (b"\xff\xfb\x90\x64" + bytes(400), "audio/mpeg"),
    (b"\xff\xf1\x50\x80" + bytes(20), "audio/aac"),
    (b"OggS\0\x02" + bytes(20) + b"\x01\x13OpusHead", "audio/ogg"),
    (b"OggS\0\x02" + bytes(20) + b"\x01\x2a\x80theora", "video/ogg"),
    (boxed(b"M4A ", b"isom"), "audio/mp4"),
    (boxed(b"isom", b"iso2", b"mp41"), "video/mp4"),
    (boxed(b"qt  "), "video/quicktime"),
    (b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm", "video/webm"),
    (b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska", "video/x-matroska"),
    (b"RIFF\x24\0\0\0AVI LIST", "video/x-msvideo"),
]


@pytest.mark.parametrize(("content", "media_type"), KINDS, ids=[f"{at}-{kind}" for at, (_, kind) in enumerate(KINDS)])
@pytest.mark.parametrize(
    "name", ["", "wrong.jpg", "http://host/data/local-files/?d=dir/red.jpg", "photo.json", "a.mp3"]
)
def test_bytes_tell_whatever_the_name_says(content: bytes, media_type: str, name: str) -> None:
    assert media_type_of(content, name) == media_type
    assert document_in(content) == ""


@pytest.mark.parametrize(
    ("content", "name", "media_type"),
    [
        (boxed(b"isom", b"mp42"), "song.m4a", "audio/mp4"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "https://host/said.weba?id=3", "audio/webm"),
        (b"an unknown format", "scan.nii", "application/octet-stream"),
        (b"an unknown format", "a.ras", "image/x-cmu-raster"),
        (b"no picture at all", "a.jpg", "application/octet-stream"),
        (b"\xff\xfea\0b\0", "a.mp3", "application/octet-stream"),
        (b"BMW is a text", "", "application/octet-stream"),
        (b"", "a.png", "application/octet-stream"),
    ],
)
def test_a_name_tells_only_what_bytes_would_not(content: bytes, name: str, media_type: str) -> None:
    assert media_type_of(content, name) == media_type


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("s3://bucket/a.JFIF", "image/jpeg"),
        ("https://host/a.webp?X-Amz-Signature=x.png", "image/webp"),
        ("https://host/a.heic#top", "image/heic"),
        ("https://host/img?id=5", "application/octet-stream"),
        ("a.opus", "audio/ogg"),
        ("notes.txt", "text/plain"),
        ("", "application/octet-stream"),
    ],
)
def test_what_is_not_read_is_told_by_its_name(name: str, media_type: str) -> None:
    assert named_type(name) == media_type


@pytest.mark.parametrize(
    "content",
    [
        b"<!-- a -->" * 6000 + b"<p>",
        b"<?a?>" * 9000,
        b"<!doctype a [" * 4000,
        b"<" * 60_000,
        b"<?xml " + b"<html" * 9000,
    ],
    ids=["comments", "instructions", "doctypes", "brackets", "elements"],
)
def test_a_page_made_to_be_slow_is_not(content: bytes) -> None:
    start = time.monotonic()
    assert media_type_of(content) == "application/octet-stream"
    assert document_in(content)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code></Error>', "an XML document"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", "an XML document"),
        (b"<Error><Code>AccessDenied</Code></Error>", "an XML document"),
        (b'<?xml version="1.0"?><!DOCTYPE html><html xmlns="x">', "an HTML page, perhaps a login page"),
        (b"<html><head><title>Sign in</title>", "an HTML page, perhaps a login page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "a pointer of Git LFS, whose file was not fetched",
        ),
        (b'{"detail": "Not found"}', "JSON"),
        (b"", "empty"),
        (bytes(4000), "empty"),
    ],
)
def test_what_stands_for_a_file_says_what_it_is(content: bytes, said: str) -> None:
    assert document_in(content) == said


@pytest.mark.parametrize(
    ("media_type", "ending"),
    [("image/jpeg", ".jpg"), ("audio/wav", ".wav"), ("audio/mp4", ".m4a"), ("image/svg+xml", ".svg"), ("a/b", ".bin")],
)
def test_a_type_has_its_usual_ending(media_type: str, ending: str) -> None:
    assert ending_of(media_type) == ending
