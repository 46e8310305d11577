"""SageMaker's runtime, answered by LabelLoop's own inference server on the very archives that were deployed.

An endpoint answers by the model of its config, while it moves by both, as its traffic is shared.
"""

import io
import tarfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from flask import Flask
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import sagemaker_backends
from werkzeug import Response

from labelloop.models.bundle import bundle_files
from labelloop.serve.answering import Admission
from labelloop.serve.engines.base import open_engine
from labelloop.serve.pinned import PinnedCatalog, version_of
from labelloop.serve.references import References
from labelloop.serve.server import inference_app
from labelloop.settings import Settings
from labelloop.sources.s3 import bucket_and_key
from support.aws.endpoints import Endpoints
from support.aws.front import Handler
from support.aws.wire import Call, invalid


@dataclass
class Runtime:
    """What answers at endpoints; ``answered`` are endpoint and version of each answer, in order.

    ``instead`` lets a version be served by another bundle than its own.
    """

    endpoints: Endpoints
    client: Callable[[str], Any]
    folder: Path
    instead: dict[str, Path] = field(default_factory=dict)
    answered: list[tuple[str, str]] = field(default_factory=list)
    _apps: dict[str, tuple[str, Flask]] = field(default_factory=dict)
    _turns: Any = field(default_factory=count)

    def operations(self) -> dict[str, Handler]:
        """Give what is answered here."""
        return {"sagemaker:InvokeEndpoint": self._invoke}

    def forget(self) -> None:
        """Forget everything."""
        self.instead.clear()
        self.answered.clear()
        self._apps.clear()

    def _invoke(self, call: Call) -> Response:
        name = call.request.path.split("/")[2]
        backend = sagemaker_backends[DEFAULT_ACCOUNT_ID][call.region]
        endpoint = backend.endpoints.get(name)
        if endpoint is None or endpoint.endpoint_status in ("Creating", "Failed"):
            raise invalid(f"Endpoint {name} of account {DEFAULT_ACCOUNT_ID} not found.")
        config = self._chosen(name, endpoint.endpoint_config_name)
        model = backend._models[backend.endpoint_configs[config].production_variants[0]["ModelName"]]
        version, app = self._app(model.primary_container["ModelDataUrl"])
        self.answered.append((name, version))
        call.request.environ["wsgi.input"].seek(0)
        answer = Response.from_app(app, call.request.environ, buffered=True)
        answer.headers["x-Amzn-Invoked-Production-Variant"] = "primary"
        return answer

    def _chosen(self, name: str, config: str) -> str:
        """Choose by the endpoint's traffic: of a hundred requests in a row, the share of a new config gets it."""
        moving = self.endpoints.pending(name)
        return moving[0] if moving and next(self._turns) % 100 < 100 * moving[1] else config

    def _app(self, data: str) -> tuple[str, Flask]:
        """Serve what lies in S3 as a container does that finds it in /opt/ml/model."""
        if data not in self._apps:
            bucket, key = bucket_and_key(data)
            content = self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
            folder = self.folder / uuid.uuid4().hex
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                archive.extractall(folder, filter="data")
            version = version_of(folder)
            other = self.instead.get(version)
            self._apps[data] = version, app_of(other or folder, version)
        return self._apps[data]


def app_of(bundle: Path, version: str) -> Flask:
    """Serve one bundle under a version's name."""
    assert bundle_files(bundle)
    catalog = PinnedCatalog(version, lambda: open_engine(bundle, "onnx"))
    catalog.start()
    assert catalog.settled.wait(30)
    settings = Settings()
    return inference_app(catalog, Admission(4, 28), References(settings), body_max_bytes=settings.body_max_bytes)
