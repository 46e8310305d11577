"""What deployed models answer: LabelLoop's inference server on the very files that a model was uploaded with.

Somebody else's container image answers by a function of Python, and so does what AutoML has trained.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flask import Flask
from werkzeug import Response
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from labelloop.errors import LabelLoopError
from labelloop.models.bundle import DESCRIPTION
from labelloop.serve.pinned import version_of
from support.google.gcs import Objects
from support.google.models import Model, Version
from support.google.wire import failed
from support.pinned_app import app_of

Answer = Callable[[str, bytes, str], bytes]
"""Takes where the model's files lie (``gs://``), a body and its media type; raises ValueError or OSError."""


@dataclass
class Served:
    """What models answer; their files are laid out below ``folder``.

    ``images`` are somebody else's, by the beginning of their names; ``instead`` lets a version of ours (by what its
    bundle calls it) be served by another bundle than its own.
    """

    folder: Path
    objects: Objects
    images: dict[str, Answer] = field(default_factory=dict)
    instead: dict[str, Path] = field(default_factory=dict)
    trained: dict[tuple[str, str], Answer] = field(default_factory=dict)
    """What AutoML has trained, by the name of its model and its version."""
    _apps: dict[tuple[str, str], Flask] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget everything."""
        self.images.clear()
        self.instead.clear()
        self.trained.clear()
        self._apps.clear()

    def check(self, model: Model, version: Version) -> None:
        """Start a version as a deployment does; raises Refused where it would not be healthy."""
        container = version.told.get("containerSpec", {})
        if self._theirs(model, version) is not None:
            return
        asked = EnvironBuilder(container.get("healthRoute") or "/ping").get_environ()
        try:
            told = Response.from_app(self._app(model, version), asked, buffered=True)
        except (LabelLoopError, OSError, ValueError, AssertionError) as error:
            raise failed(
                f"Model server exited unexpectedly. Model server logs can be found at https://console.cloud.google.com/"
                f"logs/viewer?resource=aiplatform.googleapis.com%2FEndpoint. ({error})"
            ) from None
        if told.status_code != 200:
            raise failed(f"Model server never became ready. It answered {told.status_code} at {asked['PATH_INFO']}.")

    def ask(self, model: Model, version: Version, body: bytes, headers: dict[str, str]) -> Response:
        """Have a version answer a request as its container does at its predict route."""
        container = version.told.get("containerSpec", {})
        theirs = self._theirs(model, version)
        if theirs is None:
            route = container.get("predictRoute") or "/invocations"
            asked = EnvironBuilder(route, method="POST", data=body, headers=Headers(headers)).get_environ()
            return Response.from_app(self._app(model, version), asked, buffered=True)
        try:
            told = theirs(version.told.get("artifactUri", ""), body, headers.get("Content-Type", ""))
        except (ValueError, KeyError, OSError) as error:
            return Response(repr(error), 400, content_type="text/plain")
        return Response(told, content_type="application/json")

    def _theirs(self, model: Model, version: Version) -> Answer | None:
        if (model.name, version.number) in self.trained:
            return self.trained[model.name, version.number]
        image = version.told.get("containerSpec", {}).get("imageUri", "")
        return next((answer for name, answer in self.images.items() if image.startswith(name)), None)

    def _app(self, model: Model, version: Version) -> Flask:
        """Serve what was uploaded as a container does that finds it at AIP_STORAGE_URI."""
        key = model.name, version.number
        if key not in self._apps:
            folder = self.folder / uuid.uuid4().hex
            folder.mkdir(parents=True)
            self.objects.bring(version.told.get("artifactUri", ""), folder)
            if not (folder / DESCRIPTION).is_file():
                raise ValueError(f"there is no {DESCRIPTION} at {version.told.get('artifactUri')}")
            called = version_of(folder)
            container = version.told["containerSpec"]
            # What stands in for an entry point, or for its arguments, has to make a server of it.
            words = [*container.get("command", ["labelloop"]), *container.get("args", ["serve"])]
            if "serve" not in words:
                raise ValueError(f"{' '.join(words)} is no server")
            routes = {"HEALTH": container.get("healthRoute", ""), "PREDICT": container.get("predictRoute", "")}
            given = {one["name"]: one["value"] for one in container.get("env", ())}
            told = {**given, **{f"AIP_{name}_ROUTE": route for name, route in routes.items() if route}}
            self._apps[key] = app_of(self.instead.get(called, folder), called, told)
        return self._apps[key]
