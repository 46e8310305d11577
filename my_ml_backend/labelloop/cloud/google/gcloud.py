"""The program `gcloud`: its commands without a shell, what they answer, and which refusals are none.

What is secret goes to its standard input, and is in no argument, no variable and no message.
"""

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import TypeAlias

from labelloop.environment import shared_environment
from labelloop.errors import CloudError, SettingsError

_INSTALL = "https://cloud.google.com/sdk/docs/install"

_NOT_THERE = re.compile(r"NOT_FOUND|not found|Cannot find|does not exist", re.IGNORECASE)

_THERE_ALREADY = re.compile(r"ALREADY_EXISTS|already exists", re.IGNORECASE)

_PROPERTIES = {"CLOUDSDK_CORE_DISABLE_PROMPTS": "1", "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "1"}
"""Nobody is there to be asked, and into its logs gcloud writes all that it prints: secrets that are compared, too."""

_LINES = 5
"""Of what gcloud says when it fails, these many are told."""

_NEW_ACCOUNT = re.compile(r"[Ss]ervice account .* does not exist")
"""What policies say of a service account for some seconds after it was made."""

_TRIES, _PAUSE_SECONDS = 8, 5.0


_Done: TypeAlias = "subprocess.CompletedProcess[str]"


class Gcloud:
    """Runs gcloud for one project. ``dry``: only says what would be run, as if nothing were there yet.

    ``say`` takes lines for a person. What fails raises CloudError with gcloud's own last words.
    """

    def __init__(
        self,
        project: str,
        say: Callable[[str], object],
        *,
        dry: bool = False,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.project, self.dry = project, dry
        self._say = say
        self._wait = wait
        self._program = shutil.which("gcloud") or ""
        if not self._program and not dry:
            raise SettingsError(f"gcloud is not on the PATH: install it ({_INSTALL}), then run `gcloud auth login`")

    def read(self, *words: str) -> str | None:
        """Ask for something that is there or not; None where it is not."""
        if self.dry:
            return None
        done = self._run(words)
        if done.returncode and _NOT_THERE.search(done.stderr):
            return None
        return self._text_of(done)

    def run(self, *words: str, given: str = "", named: str = "", watched: bool = False) -> str:
        """Run a command, and give what it prints.

        ``given`` is what it reads, which ``named`` tells of in a dry run. ``watched``: it may take minutes, so a person
        sees what it says meanwhile. A service account that is not known yet where it was made just now is waited for.
        """
        if self.dry:
            self._say(f"  {self._spelled(words)}" + (f"    # reads the value of {named}" if named else ""))
            return ""
        for _ in range(_TRIES - 1):
            done = self._run(words, given, watched=watched)
            if not (done.returncode and _NEW_ACCOUNT.search(done.stderr or "")):
                return self._text_of(done)
            self._wait(_PAUSE_SECONDS)
        return self._text_of(self._run(words, given, watched=watched))

    def make(self, *words: str, given: str = "", named: str = "") -> bool:
        """Run a command that makes something; False where that is there already. ``given`` is as for ``run``."""
        if self.dry:
            self.run(*words, named=named)
            return True
        done = self._run(words, given)
        if done.returncode and _THERE_ALREADY.search(done.stderr):
            return False
        self._text_of(done)
        return True

    def _run(self, words: tuple[str, ...], given: str = "", *, watched: bool = False) -> _Done:
        return subprocess.run(
            [self._program, *self._whole(words)],
            input=given,
            stdout=subprocess.PIPE,
            stderr=None if watched else subprocess.PIPE,
            text=True,
            check=False,
            env={**shared_environment(os.environ), **_PROPERTIES},
        )

    def _whole(self, words: tuple[str, ...]) -> tuple[str, ...]:
        return (*words, "--project", self.project) if "--project" not in words else words

    def _spelled(self, words: tuple[str, ...]) -> str:
        return shlex.join(("gcloud", *self._whole(words)))

    def _text_of(self, done: _Done) -> str:
        """Give what a command printed; raises CloudError where it failed."""
        if not done.returncode:
            return done.stdout
        # A crash of gcloud is followed by advice of its own.
        said = (done.stderr or "it says why above").strip().rpartition("ERROR: ")[2].splitlines()[:_LINES]
        command = shlex.join(("gcloud", *done.args[1:]))
        raise CloudError(f"`{command}` ended with status {done.returncode}: {' '.join(said)}")
