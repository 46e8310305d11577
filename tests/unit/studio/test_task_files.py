"""Which addresses of Label Studio are files of a task; everything else must never see its token."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.errors import MediaError
from labelloop.sources.urls import Origin
from labelloop.studio.task_files import TaskFiles
from labelloop.types import TaskKey

TASK = TaskKey(7, 12)
HOME = "http://ls.example:8080"
SECRETS = ("/api/current-user/token", "/api/webhooks/?project=1", "/api/projects/1/export?exportType=JSON")


def is_file(path: str, task: TaskKey | None = TASK, home: str = HOME, *, others: bool = False) -> bool:
    return TaskFiles(Origin.of(home), others).plain(HOME + path, task)[1]


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/data/upload/7/a.png", "/data/upload/7/a.png"),
        ("/data/upload/7/sub/a b.png", "/data/upload/7/sub/a%20b.png"),
        ("/data/upload/7/100%25.png", "/data/upload/7/100%25.png"),
        ("/data/upload/7/\u00fc.png", "/data/upload/7/%C3%BC.png"),
        ("/data/upload/7/%c3%28.png", "/data/upload/7/%C3%28.png".replace("%28", "(")),
        ("//data///upload/7//a.png", "/data/upload/7/a.png"),
        ("/data/upload/9/../7/a.png", "/data/upload/7/a.png"),
        ("/data/upload/9/%2e%2e/7/a.png", "/data/upload/7/a.png"),
        ("/data/local-files/?d=dir/a.png", "/data/local-files/?d=dir/a.png"),
        ("/tasks/12/resolve/?fileuri=czM6Ly8=", "/tasks/12/resolve/?fileuri=czM6Ly8="),
        ("/storage-data/uploaded/?filepath=upload/7/a b.png", "/storage-data/uploaded/?filepath=upload/7/a%20b.png"),
        ("/storage-data/uploaded/?filepath=upload/9/../7/a.png", "/storage-data/uploaded/?filepath=upload/7/a.png"),
        ("/storage-data/uploaded/?filepath=upload%2F7%2Fa.png&x=1", "/storage-data/uploaded/?filepath=upload/7/a.png"),
    ],
)
def test_a_file_of_the_task_is_asked_for_in_its_plain_form(path: str, sent: str) -> None:
    assert TaskFiles(Origin.of(HOME)).plain(HOME + path, TASK) == (HOME + sent, True)


@pytest.mark.parametrize(
    "prefix", ["", "/data/upload/7/../../..", "/data/upload/7/%2e%2e/%2E%2e/..", "//", "/data/../"]
)
@pytest.mark.parametrize("path", SECRETS)
def test_the_api_is_no_file(prefix: str, path: str) -> None:
    assert not is_file(prefix + path)


@pytest.mark.parametrize(
    "path",
    [
        "/data/upload/8/a.png",
        "/data/upload/77/a.png",
        "/data/upload/7",
        "/data/upload/7/",
        "/data/upload/7/../8/a.png",
        "/data/upload/7/%2e%2e/8/a.png",
        "/data/upload/7%2f..%2f8/a.png",
        "/data/upload/\uff17/a.png",
        "/data/avatars/7/a.png",
        "/storage-data/uploaded/?filepath=upload/8/a.png",
        "/storage-data/uploaded/?filepath=upload/7/../8/a.png",
        "/storage-data/uploaded/?filepath=upload/7/%2e%2e/8/a.png",
        "/storage-data/uploaded/?filepath=avatars/a.png",
        "/tasks/13/resolve/?fileuri=x",
        "/tasks/12/../13/resolve/?fileuri=x",
        "/tasks/12/",
        "/data/local-files/../../api/current-user/token",
    ],
)
def test_what_is_of_another_task_or_project_is_no_file(path: str) -> None:
    assert not is_file(path)


@pytest.mark.parametrize(
    "path",
    [
        "/data/upload/7/%252e%252e/%252e%252e/%252e%252e/api/current-user/token",
        "/data/upload/7/..%255c..%255capi",
        "/data/upload/7/a\\..\\..\\api",
        "/data/upload/7/a%5c..%5capi",
        "/data/upload/7/%252fa.png",
        "/data/upload/7/a%0d%0aX-Evil:%201",
        "/storage-data/uploaded/?filepath=upload/7/a.png&filepath=upload/8/b.png",
        "/storage-data/uploaded/?filepath=upload/7/%252e%252e/8/a.png",
        "/storage-data/uploaded/",
    ],
)
def test_what_could_be_read_as_something_else_is_refused(path: str) -> None:
    with pytest.raises(MediaError):
        is_file(path)


def test_uploads_of_other_projects_are_files_where_that_is_allowed() -> None:
    for path in ("/data/upload/8/a.png", "/storage-data/uploaded/?filepath=upload/8/a.png"):
        assert not is_file(path)
        assert is_file(path, others=True)
        assert is_file(path, None)


def test_without_a_task_nothing_is_resolved() -> None:
    assert not is_file("/tasks/12/resolve/?fileuri=x", None)
    assert not is_file("/tasks/12/resolve/?fileuri=x", TaskKey(7, None))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/ls/data/upload/7/a.png", True),
        ("/ls//data/./upload/7/a.png", True),
        ("/data/upload/7/a.png", False),
        ("/lsx/data/upload/7/a.png", False),
        ("/ls/api/current-user/token", False),
        ("/ls/data/upload/7/../../../api/current-user/token", False),
        ("/x/..%2fls/api/current-user/token", False),
    ],
)
def test_label_studio_under_a_sub_path(path: str, expected: bool) -> None:
    assert is_file(path, home=f"{HOME}/ls") == expected


PIECES = st.lists(
    st.sampled_from(
        (
            *("/", ".", "%", "\\", ";", "?", "#", "&", "=", "..", "//"),
            *("%2e", "%2F", "%5c", "%25", "%252e", "%00"),
            *("data", "upload", "7", "8", "a.png", "api", "tasks", "12", "13", "resolve"),
            *("storage-data", "uploaded", "?filepath=", "local-files", "?d="),
        )
    )
    | st.text(max_size=3),
    max_size=14,
)


@given(PIECES)
def test_however_it_is_written_the_token_goes_to_files_alone(pieces: list[str]) -> None:
    try:
        sent, mine = TaskFiles(Origin.of(HOME)).plain(f"{HOME}/{''.join(pieces)}", TASK)
    except MediaError:
        return
    if not mine:
        return
    parts = urlsplit(sent)
    # As Label Studio reads it, and as a proxy would that decodes once more.
    for path in (unquote(parts.path), unquote(unquote(parts.path))):
        assert ".." not in path.split("/")
        assert "//" not in path
        assert "\\" not in path
        assert path.startswith(("/data/upload/7/", "/data/local-files", "/storage-data/uploaded", "/tasks/12/resolve"))
    if parts.path.startswith("/storage-data"):
        assert [name.startswith("upload/7/") for name in parse_qs(parts.query)["filepath"]] == [True]
