"""Models and what they answer: LabelLoop's inference server on the very archive or bundle that was deployed.

Somebody else's container image answers by a function of Python.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import sagemaker_backends
from werkzeug import Response
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from labelloop.models.bundle import served_by
from labelloop.serve.function import answer
from labelloop.serve.pinned import download, version_of
from labelloop.types import Json
from support.aws import storage
from support.aws.instances import Answered
from support.aws.wire import invalid
from support.pinned_app import app_of

Answer = Callable[[str, bytes, str], bytes]
"""Takes where the model's data lie, a body and its media type; raises ValueError or OSError for what it cannot read."""


@dataclass
class Models:
    """What models answer. ``client`` gives a client of the stand-in; archives are unpacked below ``folder``.

    ``images`` are somebody else's; ``instead`` lets a version be served by another bundle than its own.
    """

    client: Callable[..., Any]
    folder: Path
    images: dict[str, Answer] = field(default_factory=dict)
    instead: dict[str, Path] = field(default_factory=dict)
    _apps: dict[str, tuple[str, Flask]] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget everything."""
        self.images.clear()
        self.instead.clear()
        self._apps.clear()

    def version(self, region: str, model: str) -> str:
        """Name the version that a model answers by; empty for somebody else's."""
        container = container_of(region, model)
        return "" if container["Image"] in self.images else self._app(container["ModelDataUrl"])[0]

    def ask(self, region: str, model: str, body: bytes, headers: dict[str, str]) -> Response:
        """Have a model answer a request as its container does at /invocations; raises Refused for no such model."""
        container = container_of(region, model)
        theirs = self.images.get(container["Image"])
        if theirs is None:
            environ = EnvironBuilder("/invocations", method="POST", data=body, headers=Headers(headers)).get_environ()
            return Response.from_app(self._app(container["ModelDataUrl"])[1], environ, buffered=True)
        try:
            answer = theirs(container.get("ModelDataUrl", ""), body, headers.get("Content-Type", ""))
        except (ValueError, KeyError, OSError) as error:
            return Response(repr(error), 400, content_type="text/plain")
        return Response(answer, content_type="application/json")

    def _app(self, data: str) -> tuple[str, Flask]:
        """Serve what lies in S3 as a container does that finds it in /opt/ml/model."""
        if data not in self._apps:
            folder = self.folder / uuid.uuid4().hex
            storage.unpack(storage.read(self.client("s3"), data), folder)
            version = version_of(folder)
            self._apps[data] = version, app_of(self.instead.get(version) or folder, version)
        return self._apps[data]


@dataclass
class FunctionsInHere:
    """Answers Lambda's Invoke by this process instead of one of its own for each version, which takes seconds.

    Put ``run`` in the place of ``Functions.run``. ``instead`` lets a version be served by another bundle than its own.
    """

    folder: Path
    instead: dict[str, Path] = field(default_factory=dict)
    _apps: dict[str, Flask] = field(default_factory=dict)

    def run(self, function: Any, payload: bytes) -> Answered:
        """Have a version of a function answer an event."""
        told = answer(json.loads(payload), self._app(function.environment_vars["AIP_STORAGE_URI"]))
        return Answered(json.dumps(told).encode(), str(function.version))

    def _app(self, storage_uri: str) -> Flask:
        if storage_uri not in self._apps:
            folder = download(storage_uri, self.folder, served_by("onnx"))
            version = version_of(folder)
            self._apps[storage_uri] = app_of(self.instead.get(version, folder), version)
        return self._apps[storage_uri]


def container_of(region: str, model: str) -> Json:
    """Give a model's container: its image, and where its data lie; raises Refused for no such model."""
    backend: Any = sagemaker_backends[DEFAULT_ACCOUNT_ID][region]
    found = backend._models.get(model)
    if found is None:
        raise invalid(f'Could not find model "arn:aws:sagemaker:{region}:{DEFAULT_ACCOUNT_ID}:model/{model}".')
    container: Json = (found.containers or [found.primary_container])[0]
    name = container.get("ModelPackageName")
    if name:
        package = backend.model_packages[backend.model_package_name_mapping.get(name, name)]
        container = package.inference_specification["Containers"][0]
    return container
