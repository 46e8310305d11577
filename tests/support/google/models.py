"""The model registry: models, their versions and aliases, and evaluations."""

from collections.abc import Callable
from dataclasses import dataclass, field

from labelloop.types import Json
from support.google.front import Route
from support.google.gcs import Objects
from support.google.listing import ORDERED, listed
from support.google.names import ALIAS, MODEL_ID, check_display_name, check_id, check_labels, masked, new_id
from support.google.operations import Operations
from support.google.wire import Call, Refused, failed, invalid, missing, now, page, without_nothing

DEFAULT = "default"
_ABOUT_MODEL, _ABOUT_VERSION = ("displayName", "description", "labels"), ("versionDescription", "labels")
"""What may be changed of a model (``models/1``), and of one of its versions (``models/1@2``); never both at once."""


@dataclass
class Version:
    """One version of a model; ``told`` is what was said of it."""

    number: str
    told: Json
    aliases: set[str]
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)
    evaluations: dict[str, Json] = field(default_factory=dict)


@dataclass
class Model:
    """One model: its versions by number, and what was said of it and not of one of them."""

    name: str
    told: Json = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)
    last: int = 0
    created: str = field(default_factory=now)

    def version(self, called: str = "") -> Version | None:
        """Give a version by number or alias."""
        wanted = called or DEFAULT
        return next((one for one in self.versions.values() if wanted == one.number or wanted in one.aliases), None)


@dataclass
class Models:
    """All models. ``deployed`` gives the names of the endpoints that a model (and version) is deployed to."""

    operations: Operations
    objects: Objects
    deployed: Callable[[str, str], list[Json]]
    models: dict[str, Model] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        say = "aiplatform:"
        return [
            Route(f"{say}POST models:upload", "models.upload", self._upload, "UploadModelRequest"),
            Route(f"{say}GET models", "models.list", self._list, query=None),
            Route(f"{say}GET models/*", "models.get", self._get),
            Route(f"{say}PATCH models/*", "models.update", self._patch, "ModelPatch", "model", ("updateMask",)),
            Route(f"{say}DELETE models/*", "models.delete", self._delete),
            Route(f"{say}DELETE models/*:deleteVersion", "models.delete", self._delete_version),
            Route(f"{say}GET models/*:listVersions", "models.list", self._versions, query=None),
            Route(
                f"{say}POST models/*:mergeVersionAliases", "models.update", self._merge, "MergeVersionAliasesRequest"
            ),
            Route(f"{say}GET models/*/evaluations", "modelEvaluations.list", self._evaluations, query=None),
            Route(f"{say}GET models/*/evaluations/*", "modelEvaluations.get", self._evaluation),
            Route(
                f"{say}POST models/*/evaluations:import",
                "modelEvaluations.import",
                self._import,
                "ImportModelEvaluationRequest",
            ),
        ]

    def forget(self) -> None:
        """Forget everything."""
        self.models.clear()

    def find(self, name: str) -> tuple[Model, Version]:
        """Give what ``.../models/ID``, with ``@VERSION`` or ``@ALIAS`` or without, names; raises Refused."""
        whole, _, called = name.partition("@")
        model = self.models.get(whole)
        version = model.version(called) if model else None
        if model is None or version is None:
            raise missing("Model", name)
        return model, version

    def add(self, parent: str, told: Json, model_id: str = "", parent_model: str = "") -> Json:
        """Add a model, or a version of one; gives what an upload answers. Raises Refused."""
        name = parent_model.partition("@")[0] or f"{parent}/models/{model_id or new_id()}"
        model = self.models.setdefault(name, Model(name))
        model.last += 1
        aliases = {*told.pop("versionAliases", ()), *(() if model.versions else (DEFAULT,))}
        if not model.versions:
            model.told = {"labels": told.get("labels", {})}
        model.told |= {name: told[name] for name in ("displayName", "description") if name in told}
        version = Version(str(model.last), told, set())
        model.versions[version.number] = version
        _move(model, version, aliases)
        return {"model": model.name, "modelVersionId": version.number}

    def check(self, call: Call, told: Json, model_id: str, parent_model: str) -> None:
        """Refuse what cannot be uploaded: what is said of it, its id, or what it would be a version of."""
        check_display_name(told["displayName"])
        check_labels(told.get("labels", {}))
        for alias in told.get("versionAliases", ()):
            check_id("Version alias", alias, ALIAS)
        if model_id and parent_model:
            raise invalid("model_id and parent_model cannot both be set.")
        if model_id:
            check_id("Model id", model_id, MODEL_ID)
            if f"{call.parent}/models/{model_id}" in self.models:
                raise Refused("ALREADY_EXISTS", f"Model {call.parent}/models/{model_id} already exists.")
        if parent_model and not parent_model.startswith(f"{call.parent}/models/"):
            raise invalid(f"Parent model {parent_model!r} is not a model of {call.parent}.")
        if parent_model:
            self.find(parent_model)

    def describe(self, model: Model, version: Version) -> Json:
        """Give what Vertex AI answers of a version."""
        return without_nothing(
            {
                "name": model.name,
                **version.told,
                **model.told,
                "labels": {**model.told["labels"], **version.told.get("labels", {})},
                "versionId": version.number,
                "versionAliases": sorted(version.aliases),
                "createTime": model.created,
                "updateTime": version.updated,
                "versionCreateTime": version.created,
                "versionUpdateTime": version.updated,
                "deployedModels": self.deployed(model.name, version.number),
                "supportedDeploymentResourcesTypes": version.told.get("supportedDeploymentResourcesTypes")
                or ["DEDICATED_RESOURCES"],
                "supportedInputStorageFormats": ["jsonl", "bigquery", "csv", "tf-record", "file-list"],
                "supportedOutputStorageFormats": ["jsonl", "bigquery"],
                "etag": etag(version.updated),
            }.items()
        )

    # What Vertex AI answers.
    def _upload(self, call: Call) -> Json:
        body = call.body
        told, model_id, parent_model = dict(body["model"]), body.get("modelId", ""), body.get("parentModel", "")
        self.check(call, told, model_id, parent_model)
        _check_container(told)
        name = parent_model.partition("@")[0] or f"{call.parent}/models/{model_id or new_id()}"

        def upload() -> Json:
            places = told.get("artifactUri")
            if places and not next(self.objects.names(places), ""):
                raise invalid(f'There are no files under "{places}" to copy.')
            if model_id and name in self.models:
                raise Refused("ALREADY_EXISTS", f"Model {name} already exists.")
            return self.add(call.parent, told, name.rpartition("/")[2], name if parent_model else "")

        kinds = ("UploadModelOperationMetadata", "UploadModelResponse")
        return self.operations.begin("upload", name, upload, *kinds)

    def _list(self, call: Call) -> Json:
        with self.operations.lock:
            told = []
            for model in self.models.values():
                version = model.version()
                if model.name.startswith(f"{call.parent}/") and version:
                    told.append(self.describe(model, version))
            return listed(call, told, "models", ("model", "displayName", "labels"), ORDERED)

    def _get(self, call: Call) -> Json:
        with self.operations.lock:
            self.operations.look(call.resource.partition("@")[0])
            return self.describe(*self.find(call.resource))

    def _patch(self, call: Call) -> Json:
        with self.operations.lock:
            name = call.resource.removesuffix("@-")
            model, version = self.find(name)
            one, known, others = (
                (version, _ABOUT_VERSION, _ABOUT_MODEL) if "@" in name else (model, _ABOUT_MODEL, _ABOUT_VERSION)
            )
            changed = masked(call.query.get("updateMask", ""), call.body, {*known, *others})
            if strange := [name for name in changed if name not in known]:
                raise failed(f"{strange[0]} cannot be updated of {call.resource}: models and versions are apart.")
            check_labels(changed.get("labels") or {})
            one.told = {"labels": {}, **without_nothing({**one.told, **changed}.items())}
            version.updated = now()
            return self.describe(model, version)

    def _versions(self, call: Call) -> Json:
        with self.operations.lock:
            self.operations.look(call.resource.partition("@")[0])
            model, _ = self.find(call.resource)
            told = [self.describe(model, one) for one in model.versions.values()]
            return listed(call, told, "models", ("labels",), ("createTime", "updateTime"))

    def _merge(self, call: Call) -> Json:
        with self.operations.lock:
            model, version = self.find(call.resource)
            words = call.body["versionAliases"]
            for word in words:
                check_id("Version alias", word.removeprefix("-"), ALIAS)
            gone = {word[1:] for word in words if word.startswith("-")}
            if DEFAULT in gone:
                raise invalid("The alias 'default' cannot be removed: give it to another version.")
            if gone - version.aliases:
                raise invalid(f"Version {version.number} has no alias {min(gone - version.aliases)!r}.")
            _move(model, version, {word for word in words if not word.startswith("-")})
            version.aliases -= gone
            version.updated = now()
            return self.describe(model, version)

    def _delete(self, call: Call) -> Json:
        model, _ = self.find(call.resource)
        self._refuse_deployed(model.name, "")

        def delete() -> Json:
            self._refuse_deployed(model.name, "")
            self.models.pop(model.name, None)
            return {}

        return self.operations.begin("delete", model.name, delete, "DeleteOperationMetadata")

    def _delete_version(self, call: Call) -> Json:
        model, version = self.find(call.resource)
        if "@" not in call.resource:
            raise invalid(f"{call.resource} names no version.")
        self._refuse_deployed(model.name, version.number)
        if DEFAULT in version.aliases:
            raise failed(f"Version {version.number} of {model.name} is the default one and cannot be deleted.")

        def delete() -> Json:
            self._refuse_deployed(model.name, version.number)
            model.versions.pop(version.number, None)
            return {}

        return self.operations.begin("deleteVersion", model.name, delete, "DeleteOperationMetadata")

    def _refuse_deployed(self, name: str, version: str) -> None:
        where = [one["endpoint"] for one in self.deployed(name, version)]
        if where:
            raise failed(
                f'The Model "{name}" is deployed at the following Endpoint(s): {", ".join(where)}. Undeploy it first.'
            )

    def _evaluations(self, call: Call) -> Json:
        _, version = self.find(call.resource.removesuffix("/evaluations"))
        return page(call, list(version.evaluations.values()), "modelEvaluations")

    def _evaluation(self, call: Call) -> Json:
        name, _, number = call.resource.rpartition("/evaluations/")
        _, version = self.find(name)
        if number not in version.evaluations:
            raise missing("ModelEvaluation", call.resource)
        return version.evaluations[number]

    def _import(self, call: Call) -> Json:
        model, version = self.find(call.resource.removesuffix("/evaluations"))
        return evaluated(model, version, call.body["modelEvaluation"])


def evaluated(model: Model, version: Version, told: Json) -> Json:
    """Add an evaluation to a version; gives it as Vertex AI does."""
    number = new_id()
    named = {"name": f"{model.name}@{version.number}/evaluations/{number}", **told, "createTime": now()}
    version.evaluations[number] = named
    return named


def etag(updated: str) -> str:
    """Make an etag of the moment of the last change."""
    return f'"{updated[-16:-1]}"'


def _move(model: Model, version: Version, aliases: set[str]) -> None:
    """Give aliases to a version, and take them from all others."""
    for one in model.versions.values():
        one.aliases -= aliases
    version.aliases |= aliases


def _check_container(told: Json) -> None:
    container = told.get("containerSpec")
    if container is None:
        raise invalid("container_spec has to be set for a model that is uploaded.")
    if not container["imageUri"].strip() or " " in container["imageUri"]:
        raise invalid(f"container_spec.image_uri {container['imageUri']!r} is invalid.")
    for name in ("predictRoute", "healthRoute"):
        if not container.get(name, "/").startswith("/"):
            raise invalid(f"container_spec.{name} has to begin with a slash.")
    artifacts = told.get("artifactUri", "gs://")
    if not artifacts.startswith("gs://"):
        raise invalid(f"artifact_uri {artifacts!r} is no Cloud Storage URI.")
