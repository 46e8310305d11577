"""Pictures over HTTP: what is sent to whom, what is refused, and how long a bad server can hold us."""

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from labelloop.errors import AddressRefused, MediaDenied, MediaError
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.studio.client import Studio
from labelloop.studio.task_files import TaskFiles
from labelloop.types import TaskKey
from support.misbehaving import (
    Exchange,
    Misbehaving,
    Reply,
    answer,
    dribble,
    misbehaving,
    raw,
    reset,
    stall,
    then_close,
)

PICTURE = b"\x89PNG, or something like it" * 1000
TOKEN = "legacy-token-of-forty-characters"
TASK = TaskKey(1, 7)


class Reader:
    """Makes media readers with other settings, and closes them."""

    def __init__(self, closing: ExitStack) -> None:
        self._closing = closing

    def __call__(self, studio_url: str | None = None, **settings: object) -> Media:
        studio = Studio(studio_url, TOKEN) if studio_url else None
        made = Settings(**{"allow_private_addresses": True, **settings})  # type: ignore[arg-type]
        media = Media(made, TaskFiles.of(studio, made) if studio else None)
        self._closing.callback(media.close)
        if studio:
            self._closing.callback(studio.close)
        return media


@pytest.fixture
def reader() -> Iterator[Reader]:
    with ExitStack() as closing:
        yield Reader(closing)


def redirect(location: str, status: int = 302) -> Reply:
    return answer(b"", status, f"Location: {location}\r\n")


def routed(routes: dict[str, list[Reply]]) -> Reply:
    """Answer by path (without the query); each route gives its replies in turn, the last one for ever."""
    lock = threading.Lock()

    def reply(exchange: Exchange) -> None:
        path = exchange.request.line.split()[1].partition("?")[0]
        with lock:
            replies = routes[path]
            chosen = replies.pop(0) if len(replies) > 1 else replies[0]
        chosen(exchange)

    return reply


def sent(server: Misbehaving) -> list[str]:
    return [request.line.split()[1] for request in server.requests]


def tokens(server: Misbehaving) -> list[str | None]:
    return [request.headers.get("authorization") for request in server.requests]


def test_what_label_studio_has_to_be_asked_for_is_told_from_what_is_read_elsewhere(reader: Reader) -> None:
    media = reader("http://studio.test/tool", buckets=("s3://own", "gs://own"))
    for address, asked in (
        ("/data/upload/1/a.png", True),
        ("http://studio.test/tool/data/upload/1/a.png", True),
        ("gs://own/a.png", True),
        ("s3://own/a.png", False),
        ("//elsewhere.test/a.png", False),
        ("https://elsewhere.test/a.png", False),
        ("data:image/png;base64,AAAA", False),
    ):
        assert media.asks_home(address, TASK) == asked, address
    assert reader(buckets=("s3://own",)).asks_home("s3://other/a.png", TASK)


def test_a_picture_is_read_whole(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as server:
        assert reader().read(f"{server.address}/a b/ü.png?x=1&y=%2F") == PICTURE
        assert sent(server) == ["/a%20b/%C3%BC.png?x=1&y=%2F"]


def test_a_chunked_picture_is_read_whole(reader: Reader) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (PICTURE[:7000], PICTURE[7000:]))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with misbehaving(raw(head + chunks + b"0\r\n\r\n")) as server:
        assert reader().read(f"{server.address}/a.png") == PICTURE


def test_connections_are_kept(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as server:
        media = reader()
        for _ in range(3):
            media.read(f"{server.address}/a.png")
        assert [request.connection for request in server.requests] == [1, 1, 1]


def test_many_threads_share_one_reader(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as server:
        media = reader()
        found: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: found.append(media.read(f"{server.address}/a.png"))) for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [PICTURE] * 40


@pytest.mark.parametrize(
    "reply", [answer(PICTURE), then_close(raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + PICTURE))]
)
def test_too_large_a_picture_is_refused(reader: Reader, reply: Reply) -> None:
    with misbehaving(reply) as server, pytest.raises(MediaError, match="LABELLOOP_MEDIA_MAX_BYTES"):
        reader(media_max_bytes=len(PICTURE) - 1).read(f"{server.address}/a.png")


def test_a_picture_of_the_largest_size_is_read(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as server:
        assert reader(media_max_bytes=len(PICTURE)).read(f"{server.address}/a.png") == PICTURE


@pytest.mark.parametrize(
    "reply",
    [
        stall,
        dribble(b"HTTP/1.1 200 "),
        dribble(b"HTTP/1.1 200 OK\r\nX-Long: "),
        dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"),
    ],
    ids=["silent", "slow first line", "slow header", "slow body"],
)
def test_a_slow_server_cannot_hold_us(reader: Reader, reply: Reply) -> None:
    with misbehaving(reply) as server:
        media = reader(media_timeout=0.4)
        began = time.monotonic()
        with pytest.raises(MediaError, match="LABELLOOP_MEDIA_TIMEOUT"):
            media.read(f"{server.address}/a.png")
        assert time.monotonic() - began < 2


def test_redirects_share_one_deadline(reader: Reader) -> None:
    with misbehaving(redirect("/again")) as server, pytest.raises(MediaError, match="more than 5 times"):
        reader().read(f"{server.address}/a.png")


def test_a_broken_connection_is_tried_again_once(reader: Reader) -> None:
    with misbehaving(reset, answer(PICTURE)) as server:
        assert reader().read(f"{server.address}/a.png") == PICTURE
    with misbehaving(reset) as server:
        with pytest.raises(MediaError, match="could not be reached or broke off"):
            reader().read(f"{server.address}/a.png")
        assert len(server.requests) == 2


def test_a_picture_cut_short_is_not_taken_for_whole(reader: Reader) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PICTURE)
    with misbehaving(then_close(raw(head + PICTURE[:-1]))) as server, pytest.raises(MediaError, match="broke off"):
        reader().read(f"{server.address}/a.png")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_stumbling_server_is_asked_again_once(reader: Reader, status: int) -> None:
    with misbehaving(answer({}, status), answer(PICTURE)) as server:
        assert reader().read(f"{server.address}/a.png") == PICTURE


@pytest.mark.parametrize("status", [400, 401, 403, 404, 204])
def test_a_refusal_is_final_and_says_what_to_do(reader: Reader, status: int) -> None:
    with misbehaving(answer(b"", status)) as server:
        with pytest.raises(MediaError) as error:
            reader().read(f"http://me:hush@127.0.0.1:{server.port}/a.png?X-Amz-Signature=hush")
        assert str(error.value).startswith(f"{server.address}/a.png could not be read: its server answered {status}.")
        assert "hush" not in str(error.value)
        assert isinstance(error.value, MediaDenied) == (status in (400, 401, 403))
        assert len(server.requests) == 1


def test_user_and_password_of_an_address_are_sent(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as server:
        reader().read(f"http://me:h%40sh@127.0.0.1:{server.port}/a.png")
        assert tokens(server) == ["Basic " + base64.b64encode(b"me:h@sh").decode()]


@pytest.mark.parametrize("path", ["/data/upload/1/a.png", "/data/local-files/?d=a/b c.png", "/tasks/7/resolve/?x=1"])
def test_label_studios_own_paths_are_asked_for_with_the_token(reader: Reader, path: str) -> None:
    with misbehaving(answer(PICTURE)) as server:
        assert reader(server.address).read(path, TASK) == PICTURE
        assert reader(server.address).read(server.address + path, TASK) == PICTURE
        assert sent(server) == [path.replace(" ", "%20")] * 2
        assert tokens(server) == [f"Token {TOKEN}"] * 2


def test_a_file_of_another_project_says_what_to_do(reader: Reader) -> None:
    with misbehaving(answer(b"", 401)) as studio:
        with pytest.raises(
            MediaError, match=r"401\. .*LABEL_STUDIO_API_KEY\. .*/data/upload/.*LABELLOOP_OTHER_UPLOADS"
        ):
            reader(studio.address).read("/data/upload/2/a.png", TASK)
        assert tokens(studio) == [None]


def test_the_token_goes_to_no_other_server(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as elsewhere, misbehaving(answer(PICTURE)) as studio:
        reader(studio.address).read(f"{elsewhere.address}/a.png?from={studio.address}")
        assert tokens(elsewhere) == [None]


def test_the_token_does_not_follow_a_redirect_to_another_server(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as elsewhere, misbehaving(redirect(f"{elsewhere.address}/a.png")) as studio:
        assert reader(studio.address).read("/tasks/7/resolve/?fileuri=x", TASK) == PICTURE
        assert tokens(studio) == [f"Token {TOKEN}"]
        assert tokens(elsewhere) == [None]


def test_the_token_is_kept_within_label_studio(reader: Reader) -> None:
    first, second = "/data/upload/1/a.png", "/data/upload/1/b.png"
    routes: dict[str, list[Reply]] = {first: [redirect(second, 307)], second: [answer(PICTURE)]}
    with misbehaving(routed(routes)) as studio:
        assert reader(studio.address).read(first, TASK) == PICTURE
        assert tokens(studio) == [f"Token {TOKEN}"] * 2


def test_a_foreign_server_gets_no_token_sent_by_pointing_at_label_studio(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as studio, misbehaving(redirect(f"{studio.address}/api/secret")) as evil:
        reader(studio.address).read(f"{evil.address}/a.png")
        assert tokens(studio) == [None]


@pytest.mark.parametrize("uri", ["gs://bucket/päth/a b.png", "azure-blob://container/a.png"])
def test_cloud_addresses_are_resolved_by_label_studio(reader: Reader, uri: str) -> None:
    with misbehaving(answer(PICTURE)) as cloud, misbehaving(redirect(f"{cloud.address}/signed?s=1", 303)) as studio:
        assert reader(studio.address).read(uri, TASK) == PICTURE
        [path] = sent(studio)
        prefix, _, name = path.partition("?fileuri=")
        assert prefix == "/tasks/7/resolve/"
        assert base64.urlsafe_b64decode(name).decode() == uri


def test_an_expired_link_is_resolved_once_more(reader: Reader) -> None:
    routes: dict[str, list[Reply]] = {"/old": [answer(b"", 403)], "/new": [answer(PICTURE)]}
    with misbehaving(routed(routes)) as cloud:
        links = (redirect(f"{cloud.address}/old"), redirect(f"{cloud.address}/new"))
        with misbehaving(*links) as studio:
            assert reader(studio.address).read("gs://bucket/a.png", TASK) == PICTURE
        with misbehaving(links[0]) as studio:
            with pytest.raises(MediaError, match="answered 403"):
                reader(studio.address).read("gs://bucket/a.png", TASK)
            assert len(studio.requests) == 2


@pytest.mark.parametrize("url", ["gs://bucket/a.png", "/data/upload/1/a.png"])
def test_without_an_api_key_label_studio_cannot_be_asked(reader: Reader, url: str) -> None:
    with pytest.raises(MediaError, match="LABEL_STUDIO_API_KEY"):
        reader().read(url, TASK)


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64",
        "//host/a.png",
        "file:///etc/passwd",
        "ftp://host/a",
        "a.png",
        "",
        "http://",
        "http:",
    ],
)
def test_other_addresses_are_refused(reader: Reader, url: str) -> None:
    with misbehaving(answer(PICTURE)) as studio:
        with pytest.raises(MediaError):
            reader(studio.address).read(url, TASK)
        assert studio.requests == []


@pytest.mark.parametrize("around", [" {}", "{}\n", "\t {}\r\n", "\x00{}\x1f"])
def test_addresses_are_read_as_browsers_read_them(reader: Reader, around: str) -> None:
    with misbehaving(answer(PICTURE)) as server:
        media = reader(server.address)
        for address in (f"{server.address}/a.png", f"HTTP://127.0.0.1:{server.port}/a\n.p\tng", "/data/upload/1/a.png"):
            assert media.read(around.format(address), TASK) == PICTURE
        assert sent(server) == ["/a.png", "/a.png", "/data/upload/1/a.png"]
        assert tokens(server) == [None, None, f"Token {TOKEN}"]


def test_a_picture_that_is_its_own_address_is_read_up_to_the_largest_size(reader: Reader) -> None:
    media = reader(media_max_bytes=len(PICTURE))
    whole = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
    assert media.read(whole) == PICTURE
    for larger in (PICTURE + b"x", PICTURE * 2):
        with pytest.raises(MediaError, match=r"^data:;base64,… could not be read: .* \(LABELLOOP_MEDIA_MAX_BYTES\)$"):
            media.read(f"data:;base64,{base64.b64encode(larger).decode()}")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]"])
def test_private_addresses_are_refused_before_a_byte_is_sent(reader: Reader, host: str) -> None:
    with misbehaving(answer(PICTURE)) as server:
        with pytest.raises(AddressRefused, match="LABELLOOP_ALLOW_PRIVATE_ADDRESSES"):
            reader(allow_private_addresses=False).read(f"http://{host}:{server.port}/a.png")
        assert server.requests == []


def test_label_studio_itself_may_be_private(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as studio:
        assert reader(studio.address, allow_private_addresses=False).read("/data/upload/1/a.png") == PICTURE


def test_another_port_of_label_studios_host_is_refused(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as studio, misbehaving(answer(PICTURE)) as other:
        with pytest.raises(AddressRefused):
            reader(studio.address, allow_private_addresses=False).read(f"{other.address}/a.png")
        assert other.requests == []


def test_a_redirect_into_the_private_network_is_refused(reader: Reader) -> None:
    with misbehaving(answer(PICTURE)) as other, misbehaving(redirect(f"{other.address}/a.png")) as studio:
        with pytest.raises(AddressRefused):
            reader(studio.address, allow_private_addresses=False).read("/tasks/7/resolve/?fileuri=x", TASK)
        assert other.requests == []


def test_cloud_metadata_is_refused(reader: Reader) -> None:
    with pytest.raises(AddressRefused, match=r"169\.254\.169\.254"):
        reader(allow_private_addresses=False).read("http://169.254.169.254/latest/meta-data/iam")


def test_a_name_without_address_is_an_error_of_the_picture(reader: Reader) -> None:
    with pytest.raises(MediaError, match="has no address"):
        reader(allow_private_addresses=False).read("http://nowhere.invalid/a.png")
