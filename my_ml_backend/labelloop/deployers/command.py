"""A program of yours as a deployer, run by verb: ``command:./deploy.sh?verbs=state,rollback`` (docs/deployers.md)."""

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelloop.commands import Command
from labelloop.deployers.base import Deployable, Deployed
from labelloop.errors import DeployError
from labelloop.files import link_or_copy, remove_stale
from labelloop.models.records import now
from labelloop.types import Json, ProjectKey

VERBS = ("state", "rollback")
"""What an address may name beside ``deploy``, which each such program takes."""

_STATE_SECONDS = 60.0


class CommandDeployer:
    """Runs ``WORDS deploy FOLDER`` and waits for its end, ``seconds`` at most; the other verbs where they are named.

    Each is told the project in ``LABELLOOP_PROJECT``: one program may serve several of them.
    """

    def __init__(self, address: str, project: ProjectKey | None, seconds: float) -> None:
        self._command = Command.parse(address, VERBS)
        self._environment = {"LABELLOOP_PROJECT": str(project)} if project else {}
        self._seconds = seconds
        self.name, self.tells = self._command.name, "state" in self._command.verbs

    def check(self) -> str:
        """Ask it for its state, or look whether it is there."""
        if missing := self._command.missing:
            raise DeployError(f"{missing}: workers start it from the folder that they were started in")
        if not self.tells:
            return f"{self.name} is there; what serves it does not tell (verbs=state)"
        stands = self.state()
        told = " or ".join(stands.between) or stands.version or "no version of this project"
        return f"{self.name} says that {told} serves" + (f" since {stands.since}" if stands.since else "")

    def deploy(self, version: Deployable) -> Deployed:
        """Run it with the version's folder; raises DeployError with its last words."""
        return self._bring("deploy", version)

    def rollback(self, version: Deployable) -> Deployed:
        """The same by its own verb, where it has one."""
        return self._bring("rollback" if "rollback" in self._command.verbs else "deploy", version)

    def go_on(self, version: Deployable) -> Deployed:  # noqa: ARG002 - the program goes on by itself
        """Ask it how far it is."""
        return self.state()

    def state(self) -> Deployed:
        """Ask it what the endpoint serves; raises DeployError for an answer of another form."""
        told = self._run("state", seconds=_STATE_SECONDS)
        try:
            return _deployed(json.loads(told))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise DeployError(
                f"{self.name} state answered {told.strip()[:200]!r} ({error}): expected a JSON object such as "
                '{"version": "v3", "since": "2026-11-20T10:00:00Z", "between": [], "reason": ""}'
            ) from None

    def _bring(self, verb: str, version: Deployable) -> Deployed:
        with _folder(version) as folder:
            self._run(verb, str(folder), seconds=self._seconds)
        return self.state() if self.tells else Deployed(version.version, now())

    def _run(self, *arguments: str, seconds: float) -> str:
        ended = self._command.run(*arguments, seconds=seconds, environment=self._environment)
        if ended.problem:
            raise DeployError(f"{self.name} {arguments[0]} {ended.problem}")
        return ended.output


def _deployed(told: Json) -> Deployed:
    """Read a state; null counts as empty. Raises ValueError, TypeError or AttributeError."""
    version, since, between, reason = (told.get(name) or "" for name in ("version", "since", "between", "reason"))
    if unknown := sorted(set(told) - {"version", "since", "between", "reason", "absent"}):
        raise ValueError(f"unknown key {unknown[0]!r}")
    if not all(isinstance(one, str) for one in (version, since, reason, *between)) or isinstance(between, dict):
        raise TypeError("version, since and reason are texts, between is a list of them")
    if isinstance(between, str) and between:
        raise TypeError("between is a list of versions")
    if not isinstance(absent := told.get("absent") or False, bool):
        raise TypeError("absent is true or false")
    return Deployed(version, since, tuple(between), reason, absent=absent)


@contextmanager
def _folder(version: Deployable) -> Iterator[Path]:
    """Put a version into a folder as the program gets it; it is removed when the program has ended."""
    workshop = version.bundle.parent / ".deploy"
    remove_stale(workshop)
    folder = workshop / uuid.uuid4().hex
    folder.mkdir(parents=True)
    try:
        shutil.copytree(version.bundle, folder / "bundle", copy_function=link_or_copy)
        told = {
            "project": str(version.project),
            "version": version.version,
            "model": version.model,
            "bundle": "bundle",
        }
        (folder / "deployment.json").write_text(json.dumps(told, indent=2))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
