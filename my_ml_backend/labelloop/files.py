"""Files of this machine: written whole or not at all, held against other processes, hashed, linked, cleared away."""

import errno
import fcntl
import hashlib
import math
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from labelloop.errors import StoreError
from labelloop.types import T

_STALE_SECONDS = 86_400
"""Nothing is written or fetched for a day, so what is older belongs to nobody."""

_ANEW_SECONDS = 24 * 3600.0
"""How long a hash that is kept beside a file is taken for the file's own."""

_SETTLED_SECONDS = 60.0
"""How long ago a file's last change must be for its moment to tell it from the next one, on any file system."""

_SHA256 = re.compile(r"[0-9a-f]{64}")

_ASKED_SECONDS = 0.1
"""How often a lock is asked for that is waited for with a limit."""


@contextmanager
def whole_file(path: Path, *, shared: bool = False) -> Iterator[Path]:
    """Give a name beside ``path`` to write to: it becomes ``path`` when the block ends, and vanishes where it fails.

    So readers see the old file, none, or the whole new one. The folder is made; the name has the same suffix. Where
    several processes or threads may write it at once (``shared``), each has a name of its own, which stays behind where
    one is killed; else what a killed one has left is written over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{uuid.uuid4().hex if shared else path.name}.partial{path.suffix}")
    try:
        yield aside
        aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a new folder to fill: it becomes ``folder`` when the block ends, and vanishes where it fails.

    One that another process has made meanwhile stays, for its content is the same.
    """
    partial = folder.with_name(f".{uuid.uuid4().hex}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def file_lock(
    path: Path, seconds: float = math.inf, *, inherited: bool = False, occupied: Exception | None = None
) -> Iterator[IO[bytes]]:
    """Hold a file against other processes; the kernel takes the lock from one that dies.

    Raises ``occupied``, by default BlockingIOError, where another process holds it, still after ``seconds``. Where a
    child has ``inherited`` the file it holds it too, as long as it lives.
    """
    with path.open("ab") as file:
        try:
            _lock(file, seconds)
        except BlockingIOError:
            if occupied is None:
                raise
            raise occupied from None
        # Who clears away what is old leaves the file of a lock that is held, or another would hold one of that name.
        os.utime(file.fileno())
        try:
            yield file
        finally:
            if not inherited:
                # Closing is not enough: a child forked meanwhile holds the same open file, and with it the lock.
                fcntl.flock(file, fcntl.LOCK_UN)


def made_once(folder: Path, what: str, find: Callable[[], T | None], make: Callable[[Path], object]) -> T:
    """Give what ``find`` reads in a folder of a cache; where that is None, not there or not whole, ``make`` fills it.

    One process at a time makes it, and others wait for that: twice would take twice the memory, and whoever clears away
    what is not whole would take what another has just made. Raises StoreError where ``what`` it is cannot be kept.
    """
    if (found := find()) is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(folder.with_name(f".{folder.name}.lock")):
            if (found := find()) is None:
                shutil.rmtree(folder, ignore_errors=True)
                with whole_folder(folder) as partial:
                    make(partial)
                found = find()
    except OSError as error:
        raise cannot_keep(what, folder, error) from error
    if found is None:
        raise StoreError(f"{folder} is damaged as soon as it is written: see what else writes below MODEL_DIR")
    return found


def _lock(file: IO[bytes], seconds: float) -> None:
    if math.isinf(seconds):
        fcntl.flock(file, fcntl.LOCK_EX)
        return
    late = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= late:
                raise
            time.sleep(_ASKED_SECONDS)
        else:
            return


def sha256(path: Path) -> str:
    """Hash a file's content: hex. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept_sha256(path: Path) -> str:
    """Give the hash of a large file that stays as it is: hashed once, and kept beside it. Raises OSError.

    It is hashed anew where the file's size or time is another, and once a day: by then it is noticed that a disk has
    changed bytes by itself. Beside a file that is in no other folder, which may be anybody's, nothing is written.
    """
    kept = _kept(path)
    if kept is not None:
        return kept.sha256
    found = sha256(path)
    if path.stat().st_nlink > 1 or _beside(path).exists():
        keep_sha256(path, found)
    return found


def keep_sha256(path: Path, known: str, at: float | None = None) -> None:
    """Keep beside a file that it had this hash ``at`` a moment (Unix seconds, None: now); see kept_sha256.

    Where nothing can be written it is hashed again the next time.
    """
    here, moment = path.stat(), time.time() if at is None else at
    with suppress(OSError), whole_file(_beside(path), shared=True) as file:
        file.write_text(f"{here.st_size} {here.st_mtime_ns} {moment} {known}", encoding="ascii")


def remembered_sha256(path: Path, memory: Path) -> str:
    """Hash a large file of somebody else's, or remember in the folder ``memory`` what its hash was. Raises OSError.

    That holds for a file of the same number and size that was not touched since, by the moment of its last change,
    which no copy sets back; and for a day. Of a file that changed less than a minute ago nothing is remembered, for
    another change may have the same moment; nor anything where the folder above ``memory`` is not there.
    """
    note, before = memory / hashlib.sha256(os.fsencode(path.resolve())).hexdigest(), _identity(path)
    with suppress(OSError, ValueError):
        at, known, identity = note.read_text(encoding="ascii").split(" ", 2)
        if identity == before and is_sha256(known) and 0 <= time.time() - float(at) < _ANEW_SECONDS:
            return known
    found, hashed = sha256(path), time.time()
    settled = _identity(path) == before and hashed - path.stat().st_ctime > _SETTLED_SECONDS
    if settled and memory.parent.is_dir():
        with suppress(OSError), whole_file(note, shared=True) as aside:
            aside.write_text(f"{hashed} {found} {before}", encoding="ascii")
        remove_stale(memory)
    return found


def _identity(path: Path) -> str:
    """Say by what a file is known as long as nobody touches it."""
    here = path.stat()
    return f"{here.st_dev} {here.st_ino} {here.st_size} {here.st_mtime_ns} {here.st_ctime_ns}"


def link_kept(source: Path, target: Path) -> None:
    """Link or copy a file with the hash that is kept beside it. Raises OSError."""
    kept = _kept(source)
    link_or_copy(source, target)
    if kept is not None:
        keep_sha256(target, kept.sha256, kept.at)


class _Kept(NamedTuple):
    """A file's hash, and when it was hashed (Unix seconds)."""

    sha256: str
    at: float


def _kept(path: Path) -> _Kept | None:
    """Read what is kept beside a file, as far as it holds today; raises OSError where there is no such file."""
    here = path.stat()
    try:
        size, modified, at, known = _beside(path).read_text(encoding="ascii").split()
        kept = _Kept(known, float(at))
        same = (int(size), int(modified)) == (here.st_size, here.st_mtime_ns)
    except (OSError, ValueError):
        return None
    return kept if same and is_sha256(known) and 0 <= time.time() - kept.at < _ANEW_SECONDS else None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256")


def open_file(path: Path) -> IO[bytes]:
    """Open a file for reading, without ever waiting for it: raises OSError for what is none (``no_file``)."""
    _require_file(path.stat().st_mode, path)
    # It may be another by now: an open that does not wait, and a look at what was opened.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    try:
        _require_file(os.fstat(file.fileno()).st_mode, path)
    except OSError:
        file.close()
        raise
    return file


def no_file(mode: int) -> str:
    """Say what is there instead of a file, such as a named pipe, whose reader may wait for ever; empty for a file."""
    if stat.S_ISREG(mode):
        return ""
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _require_file(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if found := no_file(mode):
        raise OSError(errno.EINVAL, f"it is {found} and no file", str(path))


def is_sha256(text: object) -> bool:
    """Whether this is a sha256 as it is spelled everywhere here: hex, small letters."""
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def cannot_keep(what: str, folder: Path, error: OSError) -> StoreError:
    """Say that something could not be written below MODEL_DIR."""
    return StoreError(
        f"{what} cannot be kept in {folder}: {error.strerror or error}. Check the folder's rights and free space, or "
        "correct MODEL_DIR."
    )


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Link a file, which costs no space; copy it where that is not possible. Raises OSError."""
    try:
        os.link(os.path.realpath(source), target)
    except OSError:
        # Another file system, or one without links.
        shutil.copyfile(source, target)


def remove_stale(folder: Path, names: str = "*", seconds: float = _STALE_SECONDS) -> None:
    """Remove the temporaries of a folder, by their ``names``, that are older; never raises for the file system."""
    with suppress(OSError):
        for entry in folder.glob(names):
            with suppress(OSError):
                if entry.lstat().st_mtime < time.time() - seconds:
                    _remove(entry)


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink()


def multiplies_bytes() -> bool:
    """Whether the processor multiplies numbers of 8 bits without losing any: x86-64 with VNNI, by /proc/cpuinfo.

    Older ones cut sums off at 16 bits, so that a network in 8 bits answers otherwise there; of others nothing was
    measured.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return "avx512_vnni" in flags or "avx_vnni" in flags


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
