"""What a trial comes to: labels, versions and predictions, compared with those of an undisturbed one."""

import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chaos.machine import Machine
from labelloop.data.manifest import Manifest
from labelloop.demo.examples import Example, Examples
from labelloop.errors import BundleError, StoreError
from labelloop.loop.hub import Hub
from labelloop.models.bundle import check_bundle
from labelloop.models.runs import manifest_path, run_key
from labelloop.types import ProjectKey

_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Ended:
    """``versions`` by the hashes of their files and their verdicts, ``predicted`` by example, version and answer.

    ``settings`` is the fingerprint that the runs were made with. ``problems`` are what is wrong by itself.
    """

    labels: int
    settings: str
    versions: tuple[tuple[str, bool], ...]
    champion: str
    predicted: Mapping[int, Mapping[str, str]]
    problems: tuple[str, ...]

    def differences(self, expected: "Ended") -> list[str]:
        """Say what is other than in an undisturbed trial, and what is wrong by itself."""
        said = list(self.problems)
        for name in ("labels", "settings", "versions", "champion"):
            found, wanted = getattr(self, name), getattr(expected, name)
            if found != wanted:
                said.append(f"{name}: {found}, undisturbed {wanted}")
        other = [at for at in expected.predicted if self.predicted.get(at) != expected.predicted[at]]
        if other:
            at = other[0]
            said.append(
                f"{len(other)} tasks have other predictions, such as {self.predicted.get(at)}, undisturbed "
                f"{expected.predicted[at]}"
            )
        return said


def labels_of(hub: Hub, project: ProjectKey) -> Manifest | None:
    """Read the labels that the latest run was made of; None before there is one."""
    record = hub.runs(project).latest()
    if record is None:
        return None
    path = manifest_path(project, record.manifest)
    return Manifest.from_jsonl(hub.store.read(path).content.decode())


def look_at(
    machine: Machine, project: ProjectKey, answers: Mapping[int, Example], labeled: Sequence[int], examples: Examples
) -> Ended:
    """See what a trial has come to."""
    hub, problems = machine.hub, list[str]()
    number = {id(example): at for at, example in enumerate(examples.shown)}
    tasks = list(machine.client.tasks(project.id, fields=("id", "predictions", "annotations")))
    lost = [task["id"] for task in tasks if task["id"] in labeled and len(task["annotations"]) != 1]
    if lost:
        problems.append(f"{len(lost)} of {len(labeled)} tasks have not one annotation")
    predicted: dict[int, dict[str, str]] = {}
    for task in tasks:
        counts = Counter(str(one["model_version"]) for one in task["predictions"])
        if twice := [version for version, count in counts.items() if count > 1]:
            problems.append(f"task {task['id']} has {counts[twice[0]]} predictions of {twice[0]}")
        if task["id"] not in labeled:
            predicted[number[id(answers[task["id"]])]] = {
                str(one["model_version"]): _answer(one) for one in task["predictions"]
            }
    record, manifest = hub.runs(project).latest(), labels_of(hub, project)
    assert record is not None
    assert manifest is not None
    learned = {item.task: item.labels for item in manifest.items}
    if learned != {task: answers[task].labels for task in labeled}:
        problems.append(f"the last run was made of {len(learned)} labels, not of those {len(labeled)} in Label Studio")
    if record.key != run_key(manifest.hash, record.settings, record.seed):
        problems.append(f"run {record.key} is not named by its labels and settings")
    versions = [_version(hub, project, name, problems) for name in hub.versions(project).names()]
    settings = record.settings
    if machine.house is not None and machine.house.trains != "here":
        # The names of programs and endpoints are among these; they are others in each house.
        settings, versions = "", [("", promoted) for _, promoted in versions]
        predicted = {
            at: {name: one for name, one in given.items() if name[0] == "v"} for at, given in predicted.items()
        }
    champion = str(hub.pointer(project).read().champion)
    return Ended(len(learned), settings, tuple(versions), champion, predicted, tuple(problems))


def _answer(prediction: Mapping[str, Any]) -> str:
    return ",".join(choice for region in prediction["result"] for choice in region["value"]["choices"])


def _version(hub: Hub, project: ProjectKey, name: str, problems: list[str]) -> tuple[str, bool]:
    record = hub.versions(project).find(name)
    if record is None:
        problems.append(f"{name} was claimed and never published")
        return "", False
    with tempfile.TemporaryDirectory() as folder:
        info = check_bundle(hub.versions(project).fetch_bundle(name, Path(folder)))
    # What was measured has moments in it; what is served has not.
    hashes = sorted(f"{file}:{hash_[:12]}" for file, hash_ in info.files.items() if file != "metrics.json")
    return " ".join(hashes), record.promoted


class Watch:
    """Looks at the store all the while: whatever version can be seen has to be whole from its first moment on."""

    def __init__(self, hub: Hub, project: ProjectKey) -> None:
        self._hub, self._project = hub, project
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look, name=f"watch {project}", daemon=True)
        self._known: set[str] = set()
        self.problems: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _look(self) -> None:
        versions = self._hub.versions(self._project)
        while not self._ending.wait(_LOOK_SECONDS):
            try:
                pointers = self._hub.pointer(self._project).read()
                for name in {name for name in (pointers.champion, pointers.announced) if name} - self._known:
                    if versions.find(name) is None:
                        self.problems.append(f"{name} is champion and not published")
                for name in {*versions.names()} - self._known:
                    if versions.find(name) is None:
                        continue
                    with tempfile.TemporaryDirectory() as folder:
                        versions.fetch_bundle(name, Path(folder))
                    self._known.add(name)
            except BundleError as error:
                self.problems.append(f"half a version could be seen: {error}")
            except StoreError:
                # It is the store that is away, as it may be.
                with suppress(StoreError):
                    versions.names()
