"""A real Label Studio as a child process, for the demo and the tests: SQLite, one user, nothing sent to anyone."""

import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from labelloop.children import start_child, stop_child
from labelloop.errors import ServiceError, StudioError
from labelloop.files import whole_file
from labelloop.sources.egress import trusted
from labelloop.types import chunks

DATABASE = "label_studio.sqlite3"
"""The name Label Studio gives its SQLite file."""

CACHE = Path("~/.cache/labelloop")
"""Where empty, migrated databases are kept."""

_FILES_PER_UPLOAD = 100  # Django's DATA_UPLOAD_MAX_NUMBER_FILES; one more is an HTTP 500
_LOOK_SECONDS = 0.05
_GRACE_SECONDS = 5.0

_ENVIRONMENT = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "LABEL_STUDIO_DJANGO_DB": "sqlite",
    # No telemetry, no error reports, no look for a newer version.
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
    # ML backends and webhooks on this machine are meant to be called, cloud metadata never (contract, "Private
    # addresses").
    "USE_DEFAULT_BANNED_SUBNETS": "false",
    "USER_ADDITIONAL_BANNED_SUBNETS": "169.254.0.0/16,fe80::/10,fd00:ec2::/32,::ffff:0:0/96",
    "LOCAL_FILES_SERVING_ENABLED": "true",
}


class LabelStudio:
    """One Label Studio on 127.0.0.1; all its files are in ``directory``, its log in ``directory/label-studio.log``.

    ``command`` is the ``label-studio`` executable of 1.23.2; ``environment`` is added to what it is started with. It
    ends with this process, however that ends. Files below ``files`` can be served as ``/data/local-files/?d=...`` once
    a local storage is connected.
    """

    email = "demo@labelloop.local"
    password = "labelloop-demo"  # noqa: S105 - of a Label Studio that only this machine reaches

    def __init__(
        self,
        command: Path,
        directory: Path,
        port: int,
        environment: Mapping[str, str] | None = None,
        cache: Path = CACHE,
    ) -> None:
        self._command = command.expanduser().absolute()
        self.directory = directory.absolute()
        self.files = self.directory / "files"
        self.log = self.directory / "label-studio.log"
        self.url = f"http://127.0.0.1:{port}"
        self._port = port
        self._extra = dict(environment or {})
        self._cache = cache.expanduser()
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, seconds: float = 240.0) -> None:
        """Start it and wait until it answers; raises ServiceError when it does not within ``seconds``."""
        if not self._command.is_file():
            raise ServiceError(
                f"{self._command} is missing. `make demo` and `make test` install Label Studio there; otherwise name "
                "the label-studio executable of an installed 1.23.2."
            )
        self.files.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + seconds
        put_database(self._command, self.directory, self._cache, self._environment(), self.log, seconds)
        self._refuse_taken_port()
        listen = ["--internal-host", "127.0.0.1", "--port", str(self._port)]
        self._child = start_child(
            [str(self._command), "start", "--no-browser", *listen], log=self.log, environment=self._environment()
        )
        while not self._answers():
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServiceError(f"Label Studio did not start within {seconds:g} s. Its log ends:\n{self._log_end()}")
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """End it; harmless when it is not running. Started once more, it is asked by a session of its own."""
        if "_session" in self.__dict__:
            self._session.close()
            del self._session
        if self._child is not None:
            stop_child(self._child, _GRACE_SECONDS)
            self._child = None

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    @cached_property
    def token(self) -> str:
        """A new personal access token; a user has one, so an earlier one is revoked. Before 1.17 the legacy one."""
        if not self._has_personal_tokens:
            return self.legacy_token()
        for listed in self.request("GET", "/api/token/"):
            self.request("POST", "/api/token/blacklist/", json={"refresh": listed["token"]})
        return str(self.request("POST", "/api/token/")["token"])

    def legacy_token(self) -> str:
        """Allow legacy tokens, where there are others, and give the user's."""
        if self._has_personal_tokens:
            allowed = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True}
            self.request("POST", "/api/jwt/settings", json=allowed)
        return str(self.request("GET", "/api/current-user/token")["token"])

    @cached_property
    def _has_personal_tokens(self) -> bool:
        return self._session.get(f"{self.url}/api/token/", timeout=30.0).status_code != 404

    def create_project(self, title: str, label_config: str, **fields: Any) -> int:
        """Create a project (a title has at least 3 characters) and give its id."""
        body = {"title": title, "label_config": label_config} | fields
        return int(self.request("POST", "/api/projects", json=body)["id"])

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Import tasks as JSON: ``{"image": ...}``, or ``{"data": {...}, "annotations": [...]}``."""
        self.request("POST", f"/api/projects/{project}/import", json=list(tasks))

    def import_pictures(self, project: int, pictures: Mapping[str, bytes]) -> None:
        """Upload pictures by file name; each becomes a task. Names get random letters and a ``-`` in front."""
        for batch in chunks(pictures.items(), _FILES_PER_UPLOAD):
            files = [(name, (name, content)) for name, content in batch]
            self.request("POST", f"/api/projects/{project}/import", files=files)

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        """Ask as the logged-in user; gives the JSON of the answer. Raises StudioError for any but a 2xx."""
        answer = self._session.request(method, self.url + path, timeout=120.0, **kwargs)
        if answer.status_code >= 400:
            raise StudioError(f"{method} {path}: HTTP {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    @cached_property
    def _session(self) -> httpx.Client:
        session = httpx.Client(trust_env=False, follow_redirects=True, verify=trusted())
        session.get(f"{self.url}/user/login/", timeout=30.0).raise_for_status()
        form = {"email": self.email, "password": self.password, "csrfmiddlewaretoken": session.cookies["csrftoken"]}
        answer = session.post(f"{self.url}/user/login/", data=form, timeout=30.0, follow_redirects=False)
        if answer.status_code != httpx.codes.FOUND:
            session.close()
            raise StudioError(f"{self.email} cannot log in to {self.url}: HTTP {answer.status_code}")
        return session

    def _environment(self) -> dict[str, str]:
        mine = {
            "HOME": str(self.directory),
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.directory),
            "LABEL_STUDIO_USERNAME": self.email,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LOCAL_FILES_DOCUMENT_ROOT": str(self.files),
        }
        return _ENVIRONMENT | mine | self._extra

    def _answers(self) -> bool:
        try:
            url = f"{self.url}/health"
            return httpx.get(url, timeout=2.0, trust_env=False, verify=trusted()).status_code < 400
        except httpx.HTTPError:
            return False

    def _refuse_taken_port(self) -> None:
        """Label Studio would take the next free port without a word."""
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                raise ServiceError(f"port {self._port} is taken: end what listens there, or choose another port")

    def _log_end(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log.exists() else "(no log)"


def put_database(
    command: Path, directory: Path, cache: Path, environment: Mapping[str, str], log: Path, seconds: float
) -> None:
    """Put an empty, migrated database into ``directory`` unless one is there, from ``cache`` or made for it.

    Where the cache cannot be written nothing is done: Label Studio makes its own then. Raises ServiceError.
    """
    target = directory / DATABASE
    if target.exists():
        return
    executable = command.resolve()
    identity = f"{executable} {executable.stat().st_mtime_ns}"
    migrated = cache / f"label-studio-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.sqlite3"
    try:
        if not migrated.exists():
            cache.mkdir(parents=True, exist_ok=True)
            _migrate(command, migrated, environment, log, seconds)
        shutil.copyfile(migrated, target)
    except OSError:
        target.unlink(missing_ok=True)


def _migrate(command: Path, migrated: Path, environment: Mapping[str, str], log: Path, seconds: float) -> None:
    """Have Label Studio migrate an empty database: in memory where there is some, because SQLite syncs every step."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        own = {"HOME": name, "LABEL_STUDIO_BASE_DATA_DIR": name}
        # Printing the version is the least that Label Studio does after migrating.
        child = start_child([str(command), "version"], log=log, environment={**environment, **own})
        try:
            status = child.wait(seconds)
        except subprocess.TimeoutExpired:
            status = 1
        finally:
            stop_child(child, _GRACE_SECONDS)
        if status != 0:
            raise ServiceError(f"Label Studio could not make its database within {seconds:g} s; see {log}.")
        made = Path(name) / DATABASE
        with closing(sqlite3.connect(made)) as database:
            # Remembered in the file. Uploads are three times as fast, and readers do not wait for the writer.
            database.execute("PRAGMA journal_mode=wal")
        with whole_file(migrated, shared=True) as part:
            shutil.copyfile(made, part)
