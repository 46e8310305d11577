"""The border of the commands: what a command cannot get past ends here as one line with a remedy.

Errors of ours say it themselves. A package that is not installed, a path that cannot be read or written and a file that
is no text come up from anywhere below; here they get the words that a person can act on.
"""

import errno
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

STDOUT = Path("-")
"""The file name that stands for standard output."""

_MODULES = {"sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Packages that are imported by another name than they are installed by."""

_REMEDIES = {
    errno.ENOENT: "Check how the path is spelled, and that its folder is there",
    errno.ENOTDIR: "A part of the path is a file where a folder is needed: name another path",
    errno.EISDIR: "It is a folder where a file is needed: name a file",
    errno.EACCES: "Give this user the right to read and write it, or name another path",
    errno.EPERM: "Give this user the right to read and write it, or name another path",
    errno.EROFS: "Name a path that can be written",
    errno.ENOSPC: "Make room there, or name a path elsewhere",
}


def explain(error: Exception) -> str | None:
    """Give the line that a person is told; None for what is a fault of this program, and for a reader that has left."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("labelloop"):
        return _missing(error.name.partition(".")[0])
    if isinstance(error, UnicodeDecodeError):
        return f"a file that should be text is none ({error}): save it as UTF-8, or name another one"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, BrokenPipeError):
        remedy = _REMEDIES.get(error.errno, "Check that it can be read and written, and call the command again")
        return f"{_place(error)}{error.strerror or error}. {remedy}"
    return None


def write_output(target: Path, content: bytes) -> None:
    """Write a file that a command was asked for; ``-`` is standard output. Raises OSError."""
    if target == STDOUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        target.write_bytes(content)


def _place(error: OSError) -> str:
    named = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' -> '.join(named)}: " if named else ""


def _missing(module: str) -> str:
    package = _MODULES.get(module, module)
    extra = _extra(package)
    needed = f"labelloop[{extra}]" if extra else package
    return f"this command needs the package {package}, which is not installed: pip install '{needed}'"


def _extra(package: str) -> str:
    """Name the extra of LabelLoop that brings a package; empty where none does, or LabelLoop is not installed."""
    try:
        needs = requires("labelloop") or []
    except PackageNotFoundError:
        return ""
    for need in needs:
        name, _, condition = need.partition(";")
        if name.lower().startswith(package.lower()) and "extra ==" in condition:
            return condition.rpartition("==")[2].strip().strip("\"'")
    return ""
