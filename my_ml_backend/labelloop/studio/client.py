"""The Label Studio client: all that LabelLoop asks of Label Studio's API and tells it."""

import random
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import islice
from typing import Self

from labelloop.data.labeling import Counters
from labelloop.data.site import Sampling
from labelloop.errors import MediaError, NoSuchProject, NotAllowed, SettingsError, StudioAway, StudioError
from labelloop.settings import Settings
from labelloop.sources.urls import Origin, shown
from labelloop.studio.api import Api
from labelloop.studio.backends import BackendLogin, MLBackend, Webhook, WebhookSpec
from labelloop.studio.data_manager import (
    ANNOTATED,
    PAGE,
    UNLABELED,
    changed_since,
    count_newer,
    count_tasks,
    lacks,
    made_by,
    mentions,
    read_tasks,
    read_these,
    within,
)
from labelloop.studio.webhook_events import identity
from labelloop.types import Identity, Json

UNCERTAINTY = "Uncertainty sampling"
"""Lowest score first; works in the open-source edition although its UI shows it disabled (contract, "Announcing")."""

_SAMPLING: Mapping[str, Sampling] = {"Sequential sampling": "sequence", "Uniform sampling": "chance"}

_BRIEF = (
    "id",
    "created_at",
    "title",
    "label_config",
    "model_version",
    "sampling",
    "task_number",
    "total_annotations_number",
    "skipped_annotations_number",
)
"""Fields of a project. Label Studio counts anew each time, and its other counters take it longer than all of these."""

_SAID = ("id", "data", "annotations", "created_at")
"""Fields by which it is known what the annotations of a task say, and when each was made."""

_FEW = 20
"""Tasks of a page with all their predictions."""

_IMPORT_TIMEOUT = 900.0
"""Seconds; importing predictions costs Label Studio O(project) per call, and who gives up knows not what is stored."""


@dataclass(frozen=True, slots=True)
class ProjectInfo:
    """A project as Label Studio describes it; ``model_version`` is the version that sampling orders by."""

    identity: Identity
    title: str
    label_config: str
    model_version: str
    sampling: str
    counters: Counters

    @property
    def order(self) -> Sampling:
        """In which order it gives tasks to annotators."""
        return _SAMPLING.get(self.sampling, "uncertainty")

    @classmethod
    def from_json(cls, body: Json) -> Self:
        """Read the answer of ``GET /api/projects/<id>``."""
        return cls(
            # A server that tells no creation time leaves it to the address which project this is.
            identity=identity(body),
            title=body.get("title") or "",
            label_config=body.get("label_config") or "",
            model_version=body.get("model_version") or "",
            sampling=body.get("sampling") or "",
            counters=Counters(
                tasks=body.get("task_number") or 0,
                labeled=body.get("num_tasks_with_annotations") or 0,
                annotations=body.get("total_annotations_number") or 0,
                skipped=body.get("skipped_annotations_number") or 0,
            ),
        )


class Studio:
    """A Label Studio instance, asked as one of its users. Safe to share between threads, not between processes.

    Nothing is sent before the first call. Every method raises StudioError, or NotAllowed for a refused key; making it
    raises SettingsError for an address that is none.
    ``auth`` is what Label Studio must send to this ML backend: it checks the backend anew at every change of it.
    """

    def __init__(self, url: str, api_key: str, auth: BackendLogin = BackendLogin(), timeout: float = 60.0) -> None:  # noqa: B008 - immutable
        try:
            Origin.of(url)
        except MediaError:
            raise SettingsError(f"LABEL_STUDIO_URL: {shown(url)!r} is not of the form http://host:port") from None
        self.api = Api(url, api_key, timeout)
        self.auth = auth

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Make a client from the settings; raises SettingsError without an API key."""
        if not settings.label_studio_api_key:
            raise SettingsError(
                "LABEL_STUDIO_API_KEY is not set, so Label Studio cannot be asked. Copy a token from Label Studio's "
                "Account & Settings > Personal Access Token."
            )
        auth = BackendLogin(settings.basic_auth_user, settings.basic_auth_pass)
        return cls(settings.label_studio_url, settings.label_studio_api_key, auth)

    def version(self) -> str:
        """Ask for Label Studio's version; it answers without a valid key too."""
        return str(self.api.get("api/version", public=True).get("release") or "unknown")

    def is_enterprise(self) -> bool:
        """Whether this is the edition that counts in the background, and allows a user a few requests a second."""
        return bool(self.api.get("api/version", public=True).get("edition") == "Enterprise")

    def whoami(self) -> str:
        """Ask whose key this is: the user's e-mail address."""
        return str(self.api.get("api/current-user/whoami").get("email") or "unknown")

    def project(self, project: int) -> ProjectInfo:
        """Describe one project, with its counters. Raises NoSuchProject."""
        return ProjectInfo.from_json(self.api.get(f"api/projects/{project}/", missing=NoSuchProject))

    def counted(self, project: int) -> tuple[ProjectInfo, str]:
        """Describe one project, but for its number of labeled tasks, and say when that was by Label Studio's clock.

        Costs a seventh of ``project`` where there are 100,000 tasks. Raises NoSuchProject.
        """
        params = {"include": ",".join(_BRIEF)}
        body, at = self.api.get_at(f"api/projects/{project}/", params, missing=NoSuchProject)
        return ProjectInfo.from_json(body), at

    def tasks(
        self,
        project: int,
        *,
        unlabeled: bool = False,
        fields: Sequence[str] = ("id", "data"),
        after: int = 0,
        page: int = PAGE,
    ) -> Iterator[Json]:
        """Yield a project's tasks in order of id: all, or those without a submitted annotation that is counted."""
        return read_tasks(self.api, project, [UNLABELED] if unlabeled else [], fields, after, page)

    def labeled_tasks(self, project: int, page: int = PAGE, only: Sequence[int] | None = None) -> Iterator[Json]:
        """Yield the tasks with a submitted annotation (``id``, ``data``) with all their ``annotations``, skips too.

        ``only`` names those that are asked for.
        """
        found = (
            read_tasks(self.api, project, [ANNOTATED], _SAID, page=page)
            if only is None
            else self.these_tasks(project, only)
        )
        for task in found:
            if not all(annotation["was_cancelled"] for annotation in task["annotations"]):
                yield task

    def task_moments(self, project: int) -> Iterator[Json]:
        """Yield the annotated tasks (``id``) with when their ``annotations`` were made and changed."""
        told = ("was_cancelled", "created_at", "updated_at")
        return read_tasks(self.api, project, [ANNOTATED], ("id", "annotations"), of_annotations=told)

    def annotated_tasks(self, project: int, since: str = "") -> Iterator[Json]:
        """Yield the tasks that changed since a moment, or all, that have ``annotations`` (``id``, ``data``).

        Skipped ones are annotations, too.
        """
        filters = [ANNOTATED, changed_since(since)] if since else [ANNOTATED]
        return read_tasks(self.api, project, filters, _SAID)

    def emptied_tasks(self, project: int, since: str, until: str) -> Iterator[Json]:
        """Yield the tasks made ``until`` a moment that changed ``since`` one and have no annotation; as above."""
        filters = [UNLABELED, changed_since(since), made_by(until)]
        found = read_tasks(self.api, project, filters, _SAID)
        return (task for task in found if not task["annotations"])

    def these_tasks(self, project: int, tasks: Sequence[int]) -> Iterator[Json]:
        """Yield these tasks (``id``, ``data``) with their ``annotations``; without those that are there no more."""
        return read_these(self.api, project, tasks, _SAID)

    def newest_task(self, project: int, after: int) -> tuple[int, int]:
        """Count the tasks with a greater id, and give the greatest there is (``after`` where there is none)."""
        return count_newer(self.api, project, after)

    def count_up_to(self, project: int, last: int) -> int:
        """Count the tasks with ids up to ``last``, which only become fewer."""
        return count_tasks(self.api, project, [within(1, last)])

    def judged_tasks(self, project: int, since: str) -> Iterator[Json]:
        """Yield the annotated tasks that changed since a moment (``id``), with ``annotations`` and ``predictions``."""
        filters = [ANNOTATED, changed_since(since)]
        return read_tasks(self.api, project, filters, ("annotations", "predictions"))

    def task(self, project: int, task: int) -> Json | None:
        """Read one task with its ``annotations`` and ``predictions``; None where the project has none of that id."""
        found = read_these(self.api, project, [task], ("id", "data", "annotations", "predictions"))
        return next(iter(found), None)

    def annotators(self, project: int, tasks: Sequence[int]) -> dict[int, list[str]]:
        """Say who annotated these tasks and did not skip them: e-mail addresses, by task."""
        known = self.people()
        found: dict[int, list[str]] = {}
        for task in read_these(self.api, project, tasks, ("id", "annotations")):
            by = (one["completed_by"] for one in task["annotations"] if not one["was_cancelled"])
            numbers = (one["id"] if isinstance(one, dict) else one for one in by)
            found[int(task["id"])] = [known.get(number, f"user {number}") for number in numbers]
        return found

    def annotated_by(self, project: int, annotator: int) -> Iterator[int]:
        """Yield the tasks that a user has annotated, or skipped."""
        for task in read_tasks(self.api, project, [ANNOTATED], ("id", "annotations")):
            by = (one["completed_by"] for one in task["annotations"])
            if annotator in (one["id"] if isinstance(one, dict) else one for one in by):
                yield int(task["id"])

    def people(self) -> dict[int, str]:
        """Name the users by their numbers: e-mail addresses, the number where there is none."""
        return {int(user["id"]): str(user.get("email") or user["id"]) for user in self.api.get("api/users/") or []}

    def model_versions(self, project: int) -> dict[str, int]:
        """Count the project's predictions by version; 1.12.0 lists one that has none, too."""
        answer = self.api.get(f"api/projects/{project}/model-versions/") or {}
        return {str(version): int(count) for version, count in answer.items() if count}

    def unpredicted_tasks(self, project: int, version: str, page: int = PAGE) -> Iterator[Json]:
        """Yield the unlabeled tasks (``id``, ``data``) without a prediction of exactly this version.

        Importing the missing predictions while this goes on is safe. Label Studio compares versions by substring
        (``v1`` is in ``v10``). So the tasks that it calls free of the version come first; the others are asked for with
        their predictions, and only where another version's name contains this one.
        """
        known = self.model_versions(project)
        if not any(version.lower() in other.lower() for other in known):
            yield from read_tasks(self.api, project, [UNLABELED], page=page)
            return
        yield from read_tasks(self.api, project, [UNLABELED, lacks(version)], page=page)
        if any(version.lower() in other.lower() for other in known if other != version):
            similar = [UNLABELED, mentions(version)]
            for task in read_tasks(self.api, project, similar, ("id", "data", "predictions"), page=page):
                predictions = task.pop("predictions")
                if all(prediction["model_version"] != version for prediction in predictions):
                    yield task

    def some_unpredicted(self, project: int, version: str, places: int, each: int) -> Iterator[Json]:
        """Yield ``each`` of ``unpredicted_tasks`` from so many places, which chance chooses; some may come twice.

        None come where some version has this one in its name.
        """
        if any(version.lower() in other.lower() for other in self.model_versions(project)):
            return
        lowest = next((task["id"] for task in read_tasks(self.api, project, [UNLABELED], ("id",), page=1)), None)
        if lowest is None:
            return
        _, last = self.newest_task(project, lowest)
        chance = random.Random(f"{project} {version}")
        for after in sorted(chance.randint(lowest - 1, last - 1) for _ in range(places)):
            yield from islice(read_tasks(self.api, project, [UNLABELED], after=after, page=each), each)

    def predictions_by(self, project: int, versions: Set[str]) -> Iterator[int]:
        """Yield the ids of predictions by exactly these versions, of tasks that nobody annotated or skipped.

        Each may be removed. A task may have many, so only a few come at a time.
        """
        known = sorted(versions & self.model_versions(project).keys())
        fields = ("id", "predictions", "annotations_ids")
        filters = [UNLABELED, mentions(*known)]
        for task in read_tasks(self.api, project, filters, fields, page=_FEW) if known else ():
            # What was submitted during an import stays uncounted.
            if not task.get("annotations_ids"):
                yield from (int(one["id"]) for one in task["predictions"] if one["model_version"] in versions)

    def remove_prediction(self, prediction: int) -> None:
        """Remove a prediction; whoever has its task open, and submits what began with it, is answered 400 then."""
        self.api.delete(f"api/predictions/{prediction}/")

    def count_unpredicted(self, project: int, version: str) -> int:
        """Count the tasks of ``unpredicted_tasks``; those whose versions merely contain this one are not among them."""
        known = any(version.lower() in other.lower() for other in self.model_versions(project))
        return count_tasks(self.api, project, [UNLABELED, lacks(version)] if known else [UNLABELED])

    def import_predictions(self, project: int, items: Sequence[Json]) -> int:
        """Store predictions (``task``, ``result``, ``score``, ``model_version``) in one call; gives their number.

        Sent once: Label Studio stores them again when asked again. Raises StudioError when it refuses (a task deleted
        meanwhile suffices), or stored fewer than it was given. Some may be stored then: ``unpredicted_tasks`` knows.
        """
        if not items:
            return 0
        path = f"api/projects/{project}/import/predictions"
        created = int(self.api.post(path, list(items), timeout=_IMPORT_TIMEOUT).get("created", 0))
        if created != len(items):
            raise StudioError(
                f"Label Studio stored {created} of {len(items)} predictions for project {project}: the others do not "
                "fit its label config. Was it changed meanwhile? Ask unpredicted tasks again."
            )
        return created

    def add_predictions(self, project: int, items: Sequence[Json]) -> None:
        """Store predictions, each in a call of its own, whose cost does not grow with the project.

        Label Studio does not compare them with the label config. Each is sent once; when it does not answer, no more
        are sent (StudioAway). Raises StudioError when it refuses some (a task deleted meanwhile); others are stored.
        """
        refused: StudioError | None = None
        for item in items:
            try:
                self.api.post("api/predictions/", {"project": project, **item}, timeout=_IMPORT_TIMEOUT)
            except (StudioAway, NotAllowed):
                raise
            except StudioError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def set_sampling(self, project: int, sampling: str = UNCERTAINTY) -> None:
        """Choose the order in which the project serves tasks."""
        self.api.patch(f"api/projects/{project}/", {"sampling": sampling})

    def set_model_version(self, project: int, version: str) -> None:
        """Choose the version that uncertainty sampling orders by: a backend's title, or one that has predictions."""
        self.api.patch(f"api/projects/{project}/", {"model_version": version})

    def ml_backends(self, project: int) -> list[MLBackend]:
        """List the project's ML backends, oldest first; Label Studio calls each one's /health and /setup for that."""
        listed = self.api.get("api/ml/", {"project": project}, missing=NoSuchProject)
        return sorted((MLBackend.from_json(item) for item in listed), key=lambda backend: backend.id)

    def create_ml_backend(
        self, project: int, url: str, title: str, *, extra_params: object = None, interactive: bool = False
    ) -> MLBackend:
        """Connect an ML backend; it must be up, because Label Studio calls its /health and /setup now."""
        body = {"project": project, "url": url, "title": title} | self.auth.fields()
        body |= {"extra_params": extra_params, "is_interactive": interactive}
        return MLBackend.from_json(self.api.post("api/ml/", body))

    def update_ml_backend(self, backend: MLBackend, url: str, title: str) -> MLBackend:
        """Change an ML backend (up, as above); a project that ordered by its old title orders by the new one then.

        It keeps the ``extra_params`` and ``interactive`` of ``backend``: without them in the request Label Studio would
        call ``/setup`` with none first.
        """
        body = {"project": backend.project, "url": url, "title": title} | self.auth.fields()
        body |= {"extra_params": backend.extra_params, "is_interactive": backend.interactive}
        return MLBackend.from_json(self.api.patch(f"api/ml/{backend.id}", body))

    def set_title(self, backend: MLBackend, title: str) -> None:
        """Name a backend after the announced version, and have the project order tasks by its predictions."""
        self.update_ml_backend(backend, backend.url, title)
        if self.counted(backend.project)[0].model_version != title:
            self.set_model_version(backend.project, title)

    def webhooks(self, project: int) -> list[Webhook]:
        """List the project's webhooks, oldest first."""
        listed = self.api.get("api/webhooks/", {"project": project})
        return sorted((Webhook.from_json(item) for item in listed), key=lambda webhook: webhook.id)

    def create_webhook(self, project: int, spec: WebhookSpec) -> Webhook:
        """Add a webhook to the project."""
        return Webhook.from_json(self.api.post("api/webhooks/", {"project": project} | spec.fields()))

    def update_webhook(self, webhook: Webhook, spec: WebhookSpec) -> Webhook:
        """Change a webhook."""
        return Webhook.from_json(self.api.patch(f"api/webhooks/{webhook.id}/", spec.fields()))

    def delete_webhook(self, webhook: Webhook) -> None:
        """Remove a webhook."""
        self.api.delete(f"api/webhooks/{webhook.id}/")

    def close(self) -> None:
        """Close the connections."""
        self.api.close()
