"""Vertex AI's model registry as it is asked: a model for each project, a version of it for each of ours.

A version of a model is made once for the same bundle, image and engine, whoever asks for it: it is found by an alias
that says all of them.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from labelloop.cloud.base import Folder
from labelloop.cloud.google.client import Google
from labelloop.cloud.names import group_of
from labelloop.errors import CloudMissing
from labelloop.models.bundle import DESCRIPTION, RECORD, bundle_digest, check_bundle, served_by
from labelloop.types import Json, ProjectKey

VERSION, FILES, PROJECT = "labelloop-version", "labelloop-files", "labelloop-project"
"""Labels of a version of a model: which of ours it is, which folder holds its files, and whose it is."""

STATUS = "labelloop-status"
"""Label of one that is registered: its approval."""

UPLOAD_SECONDS = 600
"""What uploading may take: Vertex AI copies image and files."""

_CONTAINER = {"predictRoute": "/invocations", "healthRoute": "/ping", "ports": [{"containerPort": 8080}]}
"""How the inference image is asked (docs/inference.md)."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a model: its resource name, with its ``number``, and what is ``said`` of it.

    ``changed`` is a moment as Google tells it; ``deployed``: a model on some endpoint was made from it.
    """

    name: str
    number: int
    aliases: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    said: str = ""
    changed: str = ""
    deployed: bool = False


class Models:
    """The models of one project of Google Cloud and location. Every method raises CloudError or one of its kinds.

    ``image`` serves them with an ``engine``, and their files are handed over in ``folder``.
    """

    def __init__(self, google: Google, folder: Folder, image: str, engine: str) -> None:
        self.google, self.folder, self.image, self.engine = google, folder, image, engine

    def find(self, project: ProjectKey, which: str) -> ModelVersion | None:
        """Find a version of a project's model by number or alias; None where there is none."""
        try:
            return self.look(f"{self._model(project)}@{which}")
        except CloudMissing:
            return None

    def look(self, name: str) -> ModelVersion:
        """Look at a version of a model by its resource name; raises CloudMissing."""
        return self._version(self.google.ask("GET", name, what=f"model {name}"))

    def versions(self, project: ProjectKey) -> list[ModelVersion]:
        """Give all versions of a project's model, oldest first; none where there is no model."""
        model = self._model(project)
        try:
            found = [self._version(one) for one in self._listed(model)]
        except CloudMissing:
            return []
        return sorted(found, key=lambda one: one.number)

    def _listed(self, model: str) -> Iterable[Json]:
        return self.google.listing(f"{model}:listVersions", "models", what=f"the versions of model {model}")

    def mark(self, version: str, bundle: Path) -> str:
        """Give the alias that a version has when this bundle is served by this image and engine; raises BundleError."""
        facts = json.dumps([bundle_digest(bundle), self.image, self.engine])
        return f"{version}-{hashlib.sha256(facts.encode()).hexdigest()[:10]}"

    def ensure(self, project: ProjectKey, version: str, bundle: Path) -> ModelVersion:
        """Give the version of the model that serves this bundle; hand its files over and upload it, unless it is there.

        Raises BundleError for a damaged bundle, and CloudAway where uploading takes too long: it goes on meanwhile.
        """
        mark = self.mark(version, bundle)
        self._await_uploads(project)
        if found := self.find(project, mark):
            return found
        files = f"{version}-{bundle_digest(bundle)[:16]}"
        place = self._files(project, files)
        put_served(place, bundle, version, self.engine)
        aliases = [mark, *([] if self.find(project, version) else [version])]
        labels = {VERSION: version, FILES: files, PROJECT: label(str(project))}
        return self._upload(project, place.uri, aliases, labels)

    def say(self, version: ModelVersion, labels: Mapping[str, str], said: str) -> None:
        """Put labels on a version, beside those it has, and a description."""
        body = {"labels": {**version.labels, **labels}, "versionDescription": said}
        query = {"updateMask": "labels,versionDescription"}
        self.google.ask("PATCH", version.name, body, query=query, what=f"what is said of model {version.name}")

    def call(self, name: str, aliases: Iterable[str]) -> None:
        """Let aliases lead to a version, and to no other."""
        told = f"aliases of model {name}"
        self.google.ask("POST", f"{name}:mergeVersionAliases", {"versionAliases": [*aliases]}, what=told)

    def takes_machines(self, name: str) -> bool:
        """Whether a model that somebody else has made is deployed on machines of our choice, and not of Google's."""
        found = self.google.ask("GET", name, what=f"model {name}")
        return "DEDICATED_RESOURCES" in found.get("supportedDeploymentResourcesTypes", ())

    def is_of_automl(self, name: str) -> bool:
        """Whether AutoML has trained a model: dedicated endpoints take none of these ("Choose an endpoint type")."""
        found = self.google.ask("GET", name, what=f"model {name}")
        return bool((found.get("modelSourceInfo") or {}).get("sourceType") == "AUTOML")

    def clear(self, project: ProjectKey, kept: int) -> None:
        """Begin to take away what was uploaded and never registered, with its files, but for the newest ones.

        What is deployed somewhere stays, and so does what Google wants to keep.
        """
        ours = [one for one in self.versions(project) if FILES in one.labels and STATUS not in one.labels]
        for one in [one for one in ours[:-kept] if not one.deployed]:
            if "default" in one.aliases:
                self.call(ours[-1].name, ("default",))
            # The version last: it is by this that its files are found.
            self._files(project, one.labels[FILES]).remove()
            with suppress(CloudMissing):
                self.google.ask("DELETE", f"{one.name}:deleteVersion", what=f"the end of model {one.name}")

    def _model(self, project: ProjectKey) -> str:
        return f"{self.google.parent}/models/{group_of('labelloop', project).lower()}"

    def _files(self, project: ProjectKey, files: str) -> Folder:
        return self.folder.below(f"models/{project}/{files}")

    def _await_uploads(self, project: ProjectKey) -> None:
        """Wait for what somebody has begun to upload, who may have been killed: it is not uploaded again beside it."""
        model = self._model(project)
        told = f"uploads to model {model}"
        try:
            found = list(self.google.listing(f"{model}/operations", "operations", what=told))
        except CloudMissing:
            return
        for one in found:
            if "UploadModel" in str((one.get("metadata") or {}).get("@type")) and not one.get("done"):
                self.google.wait(one, UPLOAD_SECONDS, told)

    def _upload(self, project: ProjectKey, uri: str, aliases: list[str], labels: Mapping[str, str]) -> ModelVersion:
        model = self._model(project)
        body: Json = {
            "displayName": model.rpartition("/")[2],
            "description": f"Versions of project {project}, made by LabelLoop",
            "versionAliases": aliases,
            "labels": dict(labels),
            "artifactUri": uri,
            "containerSpec": {
                "imageUri": self.image,
                "env": [{"name": "ENGINE", "value": self.engine}],
                **_CONTAINER,
            },
        }
        named = {"parentModel": model} if self.versions(project) else {"modelId": model.rpartition("/")[2]}
        what = f"model {model}, version {aliases[0]}"
        begun = self.google.ask("POST", f"{self.google.parent}/models:upload", {"model": body, **named}, what=what)
        made = self.google.wait(begun, UPLOAD_SECONDS, what)
        return self.look(f"{model}@{made['modelVersionId']}")

    def _version(self, told: Json) -> ModelVersion:
        """Read a version; its name is as we say it, with the project's id where Google says its number."""
        number = str(told.get("versionId") or "1")
        model = str(told["name"]).rpartition("/models/")[2].partition("@")[0]
        return ModelVersion(
            f"{self.google.parent}/models/{model}@{number}",
            int(number),
            tuple(told.get("versionAliases") or ()),
            told.get("labels") or {},
            told.get("versionDescription") or "",
            told.get("versionUpdateTime") or told.get("versionCreateTime") or "",
            bool(told.get("deployedModels")),
        )


def label(text: str) -> str:
    """Spell a text as the value of a label may be: at most 63 lower-case letters, digits, hyphens and underscores."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]


def put_served(folder: Folder, bundle: Path, version: str, engine: str) -> None:
    """Copy what is served of a bundle into a folder, the description last: where it is, all of it is."""
    if folder.has(DESCRIPTION):
        return
    info = check_bundle(bundle)
    for file in sorted({*served_by(engine)(info)} & info.files.keys()):
        folder.put_file(file, bundle / file)
    folder.put(RECORD, f'{{"version": "{version}"}}'.encode(), "application/json")
    folder.put_file(DESCRIPTION, bundle / DESCRIPTION)
