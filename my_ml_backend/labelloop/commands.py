"""Somebody else's program as a trainer or a deployer: its address, and how one of its verbs is run.

It is a child of this process, started without a shell, that ends with it and takes all that it started along. What it
writes goes to the log; none of LabelLoop's own secrets are in its environment.
"""

import logging
import math
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, Self
from urllib.parse import parse_qsl

from labelloop.children import start_program, stop_group
from labelloop.environment import shared_environment
from labelloop.errors import SettingsError

_log = logging.getLogger(__name__)

_INTERPRETER = re.compile(r"(python|pypy|bash|sh|dash|zsh|env|node|ruby|perl|Rscript)[\d.]*", re.ASCII)

_TOLD_LINES, _TOLD_CHARACTERS = 5, 600
"""Of what a program wrote last, that is said where it failed."""

_LOOK_SECONDS = 0.1
_GRACE_SECONDS = 10.0
_LEFT_SECONDS = 5.0


class Ended(NamedTuple):
    """How a program ended: what it wrote to standard output, and what went wrong in words, empty where nothing did.

    ``late``: it took longer than it may.
    """

    output: str
    problem: str = ""
    late: bool = False

    @property
    def last_line(self) -> str:
        """The last line of its output that is not empty; empty where there is none."""
        return next((line for line in reversed(self.output.splitlines()) if line.strip()), "").strip()


def _nothing(_line: str) -> None:
    """Nobody listens."""


def _never() -> None:
    """Nothing ends it early."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its first arguments, the verbs it takes, and what else its address says.

    ``name`` is short and holds no secret: the file's name, of an interpreter's the script's.
    """

    words: tuple[str, ...]
    verbs: frozenset[str] = frozenset()
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, address: str, verbs: Sequence[str], options: Sequence[str] = ()) -> Self:
        """Read ``command:WORDS?verbs=a,b&option=value``, of which these are known.

        WORDS are split as a shell does, and no shell sees them. Raises SettingsError.
        """
        scheme, _, rest = address.partition(":")
        line, _, query = rest.partition("?")
        try:
            words = tuple(shlex.split(line))
            given = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
        except ValueError as error:
            raise SettingsError(f"{scheme}: the command cannot be read: {error}") from None
        if not words:
            raise SettingsError(f"{scheme}: no command is named, as in command:./program.sh")
        named = frozenset(filter(None, given.pop("verbs", "").split(",")))
        for what, found, known in (("verb", named, verbs), ("option", given, ("verbs", *options))):
            if unknown := sorted(set(found) - set(known)):
                raise SettingsError(
                    f"{scheme}: {unknown[0][:40]!r} is no {what} of such a command. There are {', '.join(known)}"
                )
        return cls(words, named, given)

    @property
    def name(self) -> str:
        """What it is called."""
        names = [Path(word).name for word in self.words if not word.startswith("-")]
        return next((name for name in names if not _INTERPRETER.fullmatch(name)), names[0] if names else "command")

    @property
    def missing(self) -> str:
        """Say that there is no such program here; empty where there is."""
        program = self.words[0]
        return "" if shutil.which(program) else f"{program} is no program that may be run in {Path.cwd()}"

    def run(
        self,
        *arguments: str,
        seconds: float,
        stdin: IO[bytes] | None = None,
        line: Callable[[str], None] = _nothing,
        check: Callable[[], None] = _never,
        environment: Mapping[str, str] | None = None,
        keep: Sequence[int] = (),
    ) -> Ended:
        """Run it with these arguments to its end, ``seconds`` at most; what is beyond them is ended and has failed.

        ``line`` gets each line of its output as it comes, what it writes to standard error goes to the log. ``check``
        is asked all the time whether this is to go on: whatever it raises ends the program, and is raised.
        ``environment`` is added to this process's own. ``keep`` are descriptors that it holds as long as it lives, and
        with it all that it has started.
        """
        if missing := self.missing:
            return Ended("", f"cannot be started: {missing}")
        inherited = {**shared_environment(os.environ), **(environment or {})}
        child = start_program([*self.words, *arguments], environment=inherited, stdin=stdin, keep=keep)
        output: list[str] = []
        said: deque[str] = deque(maxlen=_TOLD_LINES)
        late = time.monotonic() + seconds
        try:
            for text, is_output in _heard(child, self.name):
                check()
                if time.monotonic() > late:
                    return Ended("".join(output), f"was ended after {seconds:g} s{_told(said)}", late=True)
                if is_output:
                    output.append(text)
                    line(text.rstrip("\r\n"))
                elif text.strip():
                    said.append(text)
        finally:
            stop_group(child, _GRACE_SECONDS)
        status = child.returncode
        if status == 0:
            return Ended("".join(output))
        how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
        return Ended("".join(output), how + _told(said or deque(output[-_TOLD_LINES:])))


def _told(lines: "deque[str]") -> str:
    words = " / ".join(line.strip() for line in lines if line.strip())
    return f": {words[-_TOLD_CHARACTERS:]}" if words else ""


def _heard(child: "subprocess.Popen[bytes]", name: str) -> Iterator[tuple[str, bool]]:
    """Yield what a child writes, line by line, and whether that is its output, until it has ended.

    Standard error goes to the log, too. From time to time there is nothing: an empty line that is no output.
    """
    lines: queue.Queue[tuple[str, bool] | None] = queue.Queue()

    def read(stream: IO[bytes], is_output: bool) -> None:
        with stream:
            for content in stream:
                text = content.decode(errors="replace")
                if not is_output:
                    _log.info("%s: %s", name, text.rstrip())
                lines.put((text, is_output))
        lines.put(None)

    streams = [(child.stdout, True), (child.stderr, False)]
    readers = [threading.Thread(target=read, args=one, name=f"output of {name}", daemon=True) for one in streams]
    for reader in readers:
        reader.start()
    closed, ended = 0, math.inf
    # What it has left running may hold its outputs open: that is not waited for.
    while (closed < len(readers) or child.poll() is None) and time.monotonic() < ended + _LEFT_SECONDS:
        try:
            found = lines.get(timeout=_LOOK_SECONDS)
        except queue.Empty:
            found = "", False
        closed += found is None
        yield found or ("", False)
        if ended == math.inf and child.poll() is not None:
            ended = time.monotonic()
