"""The routes of Label Studio's ML client (contract, "Calls" and "Webhooks"), ``/metrics``, ``/status`` and ``/try``."""

import json
import re
import time
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import BadRequest, Gone, NotFound

from labelloop.counters import Collector, OfMachine
from labelloop.errors import LabelConfigError, OptionsError, QueueError, SettingsError
from labelloop.errors import NotFound as MissingVersion
from labelloop.front.protocol import check_json
from labelloop.front.redaction import redact_all
from labelloop.loop.gauges import OfLoop
from labelloop.loop.hub import Hub
from labelloop.loop.predict import answers_alone
from labelloop.loop.project_endpoint import ProjectEndpoint, hear, open_for, share_extra_params
from labelloop.loop.project_registry import forget, known_projects, meet_project
from labelloop.loop.queue import job_status
from labelloop.loop.status import all_statuses
from labelloop.loop.webhooks import HeardSecrets
from labelloop.pictures import MAX_PIXELS
from labelloop.serve.answering import PixelBudget
from labelloop.serve.page import AskAny, page
from labelloop.studio.backends import ACTIONS
from labelloop.studio.label_config import parse_label_config, parse_trained
from labelloop.studio.rendering import tags_named
from labelloop.studio.webhook_events import named_project
from labelloop.types import NO_VERSION, Identity, Json, ProjectKey
from labelloop.web.access import Logins
from labelloop.web.backend import LabelLoop
from labelloop.web.cloud_run import Lacks
from labelloop.web.dashboard import PATH

_JOB = re.compile(r"[\w-]{1,128}", re.ASCII)
_PROJECT = re.compile(r"(\d{1,18})(?:\.\d+)?", re.ASCII)
_TRAIN = "START_TRAINING"

JsonAnswer = Response | Json | tuple[Json, int]


class Routes:
    """Label Studio's routes over one hub. Who may ask is the gate's, errors are left to the border, ``answers``."""

    def __init__(self, hub: Hub, backend: type[LabelLoop], logins: Logins) -> None:
        self._hub = hub
        self._backend = backend
        self._logins = logins
        self._figures: list[Collector] = [OfMachine(hub.settings.directory), OfLoop(hub)]
        self._lacks = Lacks(hub)
        self._heard = HeardSecrets(hub)

    def add_to(self, app: Flask) -> None:
        """Give the app its routes; a route's endpoint is the name of its method."""
        for rule, view, methods in (
            ("/", self.front_door, ["GET"]),
            ("/health", self.health, ["GET"]),
            ("/ready", self.ready, ["GET"]),
            ("/setup", self.setup, ["POST"]),
            ("/predict", self.predict, ["POST"]),
            ("/webhook", self.webhook, ["POST"]),
            ("/train", self.train, ["POST"]),
            ("/versions", self.versions, ["GET", "POST"]),
            ("/job_status", self.job_status, ["POST"]),
            ("/validate", self.validate, ["POST"]),
            ("/delete", self.delete, ["POST"]),
            ("/duplicate_model", self.duplicate_model, ["POST"]),
            ("/metrics", self.metrics, ["GET"]),
            ("/status", self.status, ["GET"]),
        ):
            app.add_url_rule(rule, view_func=view, methods=methods)
        app.register_blueprint(page(self._asked_on_the_page, PixelBudget(MAX_PIXELS).holding, projects=True))

    def front_door(self) -> JsonAnswer:
        """Lead a browser to the dashboard, and answer everybody else that the process is up."""
        if request.accept_mimetypes.best_match(("application/json", "text/html")) == "text/html":
            return Response(status=302, headers={"Location": PATH.lstrip("/")})
        return self.health()

    def health(self) -> JsonAnswer:
        """Answer at once that the process is up: Label Studio waits one second, before every prediction."""
        return {"status": "UP", "model_class": self._backend.__name__}

    def ready(self) -> JsonAnswer:
        """Answer 200 when webhooks and trainings are taken too, 503 without Redis: for a container's health check.

        Label Studio asks ``/health`` instead, for predictions need no Redis.
        """
        self._hub.redis.ping()
        return {"status": "READY"}

    def setup(self) -> JsonAnswer:
        """Answer the announced version: no endpoint, no Label Studio. ``hostname`` and ``access_token`` stay unread.

        Impossible ``extra_params`` are refused, and Label Studio keeps those it had: so are they kept here. On
        Cloud Run it says what is ``missing``; a backend that can do nothing is refused, for Label Studio shows why.
        """
        body, begun = json_body(), time.monotonic()
        project = self._project(body)
        _check_tags(open_for(self._hub, body.get("extra_params")), body.get("schema"))
        hear(self._hub, project, body.get("extra_params"))
        # Before the version, which may be that of another endpoint now.
        share_extra_params(self._hub, project)
        version = self._backend(body["project"], hub=self._hub).model_version
        # A Redis that hangs has cost one timeout by now, and Label Studio waits three seconds: not another one.
        if time.monotonic() - begun < 1.0:
            meet_project(self._hub, project, request.url_root.rstrip("/"))
            self._heard.say()
        if version == NO_VERSION and (refusal := self._lacks.refusal()):
            raise SettingsError(refusal)
        return {"model_version": version, **self._missing()}

    def predict(self) -> JsonAnswer:
        """Answer one item per task, whatever happens to it.

        Of ``params`` only ``context`` is passed on: the rest is the login to the project's pictures.
        """
        body = json_body()
        tasks, params = items_of(body, "tasks"), body.get("params")
        project = project_identity(body.get("project"))
        model = self._backend(str(project), text_of(body, "label_config"), hub=self._hub)
        results = model.predict(tasks, context=params.get("context") if isinstance(params, dict) else None)
        self._hub.counters.predicted(results)
        return {"results": results}

    def webhook(self) -> JsonAnswer:
        """Authenticate, note one event and answer at once: the annotator's submit may be waiting.

        START_TRAINING comes from Label Studio's ML client, all else from its webhooks. An action LabelLoop has no use
        for is answered 200 to anybody: nothing is done about it.
        """
        body = json_body()
        action = text_of(body, "action")
        if action == _TRAIN:
            self._logins.label_studio.check(request)
        elif action in ACTIONS:
            self._check_webhook(action, body)
        else:
            self._hub.counters.heard("other")
            return {"status": "ignored"}, 200
        self._hub.counters.heard(action)
        return _noted(self._backend(hub=self._hub), action, body)

    def _check_webhook(self, action: str, body: Json) -> None:
        """Raise Unauthorized unless a webhook may tell of this event's project; one that names none tells nothing."""
        carried, project = self._logins.webhook.check(request), named_project(action, body)
        if project is not None and (reason := self._heard.refusal(carried, project)):
            raise self._logins.webhook.refuse(request, f"{reason}: run `labelloop connect --project {project}`")

    def train(self) -> JsonAnswer:
        """Start a training, as Label Studio before 1.4.1 asks for it; the annotations it sends are fetched anew."""
        project = str(project_identity(json_body().get("project")))
        return _noted(self._backend(project, hub=self._hub), _TRAIN, {"project": project})

    def versions(self) -> JsonAnswer:
        """List the published versions of all projects by name, newest first: Label Studio does not say for which."""
        records = [one for project in known_projects(self._hub) for one in self._hub.versions(project).all()]
        records.sort(key=lambda one: one.created, reverse=True)
        return {"versions": list(dict.fromkeys(one.version for one in records))}

    def job_status(self) -> JsonAnswer:
        """Say how a job stands, in RQ's words; 410 when it is gone."""
        job = text_of(json_body(), "job")
        status = job_status(self._hub.redis, job) if _JOB.fullmatch(job) else None
        if status is None:
            raise Gone("there is no such job, or it ended more than a day ago")
        return {"job_status": status}

    def validate(self) -> JsonAnswer:
        """Check a label config: 200 with what would be predicted, 400 with the reason when nothing can be."""
        config = parse_label_config(text_of(json_body(), "config"))
        return {
            "status": "ok",
            "controls": [
                {"name": tag.name, "tag": tag.tag, "labels": [label.name for label in tag.labels]}
                for tag in config.tags
            ],
            "warnings": list(config.warnings),
        }

    def delete(self) -> JsonAnswer:
        """Forget what the queue knows of a project. Its versions stay: a store outlives a connection."""
        forget(self._hub, self._project(json_body()))
        return {"status": "forgotten"}

    def duplicate_model(self) -> JsonAnswer:
        """Nothing to copy: a copied project trains from its own annotations, with versions of its own."""
        body = json_body()
        for name in ("project_src", "project_dst"):
            self._project(body, name)
        return {"status": "ok", "detail": "a project's versions come from its own annotations; nothing was copied"}

    def metrics(self) -> JsonAnswer:
        """Answer what the web processes counted, and how the loop stands, for Prometheus."""
        return self._hub.counters.page(self._figures)

    def status(self) -> JsonAnswer:
        """Say how every known project stands, and whether Redis answers: without it nothing new is noted or trained."""
        try:
            self.ready()
            trouble = ""
        except QueueError as error:
            trouble = str(error)
        projects = [one.to_json() for one in all_statuses(self._hub, self._known(trouble))]
        stands = {"queue": not trouble, "trouble": trouble, "projects": projects, **self._missing()}
        answer: Json = redact_all(stands)
        return answer

    def _missing(self) -> Json:
        """Name what a process on Cloud Run lacks; nothing where it lacks nothing."""
        lacks = [lack.to_json() for lack in self._lacks()]
        return {"missing": lacks} if lacks else {}

    def _asked_on_the_page(self) -> AskAny:
        """Say what answers what a person shows the page: the endpoint of the project that is named."""
        project = self._project(request.args.to_dict())
        try:
            return answers_alone(self._hub, project)
        except MissingVersion as error:
            raise NotFound(str(error)) from error

    def _known(self, trouble: str) -> list[ProjectKey]:
        try:
            return known_projects(self._hub)
        except QueueError:
            if trouble:
                return []
            raise

    def _project(self, body: Json, name: str = "project") -> ProjectKey:
        return self._hub.project(project_identity(body.get(name), name))


def _check_tags(found: ProjectEndpoint, label_config: object) -> None:
    """Raise OptionsError where the options name a control tag that nothing is predicted for, or that nobody learns."""
    bootstrap, subject = found.options.bootstrap, found.options.subject
    named = [(found.options, found.serves in ("store", "features")), *([(bootstrap, False)] if bootstrap else [])]
    try:
        if subject.tag:
            parse_trained(label_config, subject)
        for options, trained in named:
            if options.rendering.tag:
                config = parse_trained(label_config, subject) if trained else parse_label_config(label_config)
                tags_named(config, options.rendering.tag)
    except LabelConfigError as error:
        raise OptionsError(f"extra_params of the ML backend: {error}") from None


def _noted(model: LabelLoop, action: str, body: Json) -> JsonAnswer:
    """Hand an event to the model: 201 with ``{"job": id}`` when it started a job, 200 otherwise. Raises BadRequest."""
    try:
        job = model.fit(action, body)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    return ({**job, "status": "started"}, 201) if job else ({"status": "noted"}, 200)


def project_identity(value: object, name: str = "project") -> Identity:
    """Read a project from ``7``, ``"7"`` or ``"7.1795187589"``; raises BadRequest naming it otherwise."""
    match = _PROJECT.fullmatch(str(value)) if type(value) in (int, str) else None
    if match is None or int(match[1]) == 0:
        raise BadRequest(f'{name} must be "<id>.<created>", "<id>" or a number, for example "7.1795187589"')
    return Identity.parse(str(value))


def json_body() -> Json:
    """Read the request's body; raises BadRequest with the reason when it is not a JSON object."""
    content = request.get_data(cache=False)
    request.stream.read(1)  # a chunked body is cut at the limit without a word; asking for more raises the 413
    try:
        check_json(content)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    try:
        body = json.loads(content)
    except json.JSONDecodeError as error:
        raise BadRequest(f"the body is no JSON: {error.msg} at character {error.pos}") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, an endless number, thousands of brackets
        raise BadRequest("the body is no JSON that can be read") from error
    if not isinstance(body, dict):
        raise BadRequest(f"the body must be a JSON object, not {_shape(body)}")
    return body


def text_of(body: Json, name: str) -> str:
    """Take a text from a body; raises BadRequest naming it when it is missing or something else."""
    value = body.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be text, not {_shape(value)}")
    return value


def items_of(body: Json, name: str) -> list[Any]:
    """Take a list from a body; raises BadRequest naming it when it is missing or something else."""
    value = body.get(name)
    if not isinstance(value, list):
        raise BadRequest(f"{name} must be a list, not {_shape(value)}")
    return value


def _shape(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null or missing"}
    return names.get(type(value), "a number")
