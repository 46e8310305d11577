"""Lambda functions that really run, by versions, aliases with weights, and URLs.

The image's name says nothing here: ImageConfig's entry point and command are run by this Python, and the image's /tmp
is a folder of the instance. Contract: "Creating and managing Lambda function URLs" in AWS's documentation.
"""

import base64
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from moto.awslambda.exceptions import LambdaClientError
from moto.awslambda.models import ImageConfig, LambdaFunction, lambda_backends
from moto.core.models import DEFAULT_ACCOUNT_ID
from werkzeug import Request, Response

from labelloop.types import Json
from support.aws.front import Handler
from support.aws.instances import Answered, Instance
from support.aws.wire import Call, Refused, without_nothing
from support.programs import children_environment

URLS = "/function-url/"
"""Below this path of the stand-in lie the functions' URLs."""


@dataclass
class Functions:
    """All functions. ``environment`` gives what every child finds AWS by, ``url`` the stand-in's own address.

    ``pass_on`` lets moto answer a call.
    """

    folder: Path
    environment: Callable[[], dict[str, str]]
    url: Callable[[], str]
    pass_on: Callable[[Call], Response]
    invoked: list[tuple[str, str]] = field(default_factory=list)
    """Function and version of each event that was answered."""
    _instances: dict[str, Instance] = field(default_factory=dict)
    _urls: dict[str, Json] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _newest: dict[str, Any] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.RLock)

    def operations(self) -> dict[str, Handler]:
        """Give what is answered here."""
        return {
            "lambda:Invoke": self._invoke,
            "lambda:PublishVersion": self._publish,
            "lambda:UpdateFunctionConfiguration": self._update,
            "lambda:CreateFunctionUrlConfig": self._create_url,
            "lambda:GetFunctionUrlConfig": self._get_url,
            "lambda:UpdateFunctionUrlConfig": self._update_url,
            "lambda:DeleteFunctionUrlConfig": self._delete_url,
        }

    def forget(self) -> None:
        """End and forget everything."""
        with self._lock:
            for one in self._instances.values():
                one.end()
            self._instances.clear()
            self._urls.clear()
            self._counts.clear()
            self._newest.clear()
            self.invoked.clear()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let what moto invokes by itself, for queues and buckets, run here too."""

        def invoke(function: Any, body: Any, _request: Any, _headers: Any) -> bytes:
            return self.run(function, body.encode() if isinstance(body, str) else body).payload

        with patch.object(LambdaFunction, "invoke", invoke):
            yield

    def invoke(self, region: str, name: str, qualifier: str, payload: bytes) -> Answered:
        """Have a function answer an event: by name or ARN, and by version, alias or nothing; raises Refused."""
        return self.run(self._find(region, name, qualifier), payload)

    def run(self, function: Any, payload: bytes) -> Answered:
        """Have a version of a function answer an event."""
        with self._lock:
            # Whatever was changed of $LATEST, it is another instance that answers by it.
            words = json.dumps(
                [function.environment_vars, function.image_config.response(), function.code], default=str
            )
            key = f"{function.function_arn}:{function.version}:{words}"
            instance = self._instances.get(key)
            if instance is None or instance.child.poll() is not None:
                folder = self.folder / f"{function.function_name}-{function.version}-{uuid.uuid4().hex[:8]}"
                folder.mkdir(parents=True)
                instance = self._instances[key] = Instance(
                    function, folder, {**children_environment(), **self.environment()}
                )
            self.invoked.append((function.function_name, str(function.version)))
        answer = instance.invoke(payload or b"{}")
        return Answered(answer.payload, str(function.version), answer.error)

    def _find(self, region: str, name: str, qualifier: str) -> Any:
        if name.startswith("arn:"):
            parts = name.split(":")
            region, name, qualifier = parts[3], parts[6], (parts[7] if len(parts) > 7 else qualifier)
        elif ":" in name:
            name, _, qualifier = name.partition(":")
        backend = lambda_backends[DEFAULT_ACCOUNT_ID][region]
        try:
            return backend.get_function(name, self._version(backend, name, qualifier))
        except LambdaClientError:
            arn = f"arn:aws:lambda:{region}:{DEFAULT_ACCOUNT_ID}:function:{name}" + (
                f":{qualifier}" if qualifier else ""
            )
            raise Refused("ResourceNotFoundException", f"Function not found: {arn}", 404) from None

    def _version(self, backend: Any, name: str, qualifier: str) -> str | None:
        """Choose the version of an alias, each as often as its weight says, in turns and not by chance."""
        alias = next((one for one in backend.list_aliases(name) if one.name == qualifier), None) if qualifier else None
        if alias is None:
            return qualifier or None
        weights = ((alias.routing_config or {}).get("AdditionalVersionWeights") or {}).items()
        with self._lock:
            count = self._counts[alias.arn] = self._counts.get(alias.arn, 0) + 1
        for version, weight in weights:
            if int(count * weight) > int((count - 1) * weight):
                return str(version)
        return str(alias.function_version)

    # What AWS answers.
    def _invoke(self, call: Call) -> Response:
        name = call.request.path.split("/")[3]
        kind = call.request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        function = self._find(call.region, name, call.request.args.get("Qualifier", ""))
        payload = call.request.get_data()
        if kind == "DryRun":
            return Response("", 204)
        if kind == "Event":
            threading.Thread(target=self.run, args=(function, payload), daemon=True).start()
            return Response("", 202)
        answer = self.run(function, payload)
        headers = {"X-Amz-Executed-Version": answer.version}
        if answer.error:
            headers["X-Amz-Function-Error"] = answer.error
        return Response(answer.payload, 200, headers, content_type="application/json")

    def _update(self, call: Call) -> None:
        """Take what moto leaves out, and leave the rest to it."""
        told = json.loads(call.request.get_data())
        if "ImageConfig" in told:
            function = self._find(call.region, call.request.path.split("/")[3], "")
            function.image_config = ImageConfig(told["ImageConfig"])
            function.code_or_config_updated = True

    def _publish(self, call: Call) -> Response:
        """Number a version as Lambda does: moto counts those there are, and gives numbers of deleted ones again."""
        told = json.loads(self.pass_on(call).get_data())
        name = call.request.path.split("/")[3]
        newest = lambda_backends[DEFAULT_ACCOUNT_ID][call.region]._lambdas._functions[name]["versions"][-1]
        before = self._newest.get(f"{call.region}/{name}")
        if newest is not before:
            newest.set_version(int(before.version) + 1 if before else int(newest.version))
            self._newest[f"{call.region}/{name}"] = newest
        return call.answer(told | {"Version": str(newest.version)}, 201)

    def _create_url(self, call: Call) -> Response:
        key = self._url_key(call)
        if key in self._urls:
            raise Refused("ResourceConflictException", "The function URL configuration exists already.", 409)
        told = json.loads(call.request.get_data())
        place = uuid.uuid4().hex
        self._urls[key] = {
            **told,
            "FunctionUrl": f"{self.url()}{URLS}{place}/",
            "FunctionArn": key,
            "CreationTime": "2026-01-01T00:00:00.000Z",
            "LastModifiedTime": "2026-01-01T00:00:00.000Z",
            "InvokeMode": told.get("InvokeMode") or "BUFFERED",
        }
        return call.answer(self._urls[key], 201)

    def _get_url(self, call: Call) -> Response:
        return call.answer(self._url_of(call))

    def _update_url(self, call: Call) -> Response:
        found = self._url_of(call)
        found.update(json.loads(call.request.get_data()))
        return call.answer(found)

    def _delete_url(self, call: Call) -> Response:
        self._url_of(call)
        del self._urls[self._url_key(call)]
        return Response("", 204)

    def _url_key(self, call: Call) -> str:
        name, qualifier = call.request.path.split("/")[3], call.request.args.get("Qualifier", "")
        return str(self._find(call.region, name, "").function_arn) + (f":{qualifier}" if qualifier else "")

    def _url_of(self, call: Call) -> Json:
        found = self._urls.get(self._url_key(call))
        if found is None:
            raise Refused("ResourceNotFoundException", "The resource you requested does not exist.", 404)
        return found

    def answer_url(self, request: Request) -> Response:
        """Answer at a function's URL: the event is of payload format 2.0."""
        place, _, path = request.path.removeprefix(URLS).partition("/")
        found = next((one for one in self._urls.values() if place in one["FunctionUrl"]), None)
        if found is None:
            return Response('{"Message": null}', 404, content_type="application/json")
        if not self._may(found, request):
            return Response('{"Message": "Forbidden"}', 403, content_type="application/json")
        answer = self.invoke("", found["FunctionArn"], "", json.dumps(_event(request, f"/{path}")).encode())
        if answer.error:
            return Response("Internal Server Error", 502)
        return _written(json.loads(answer.payload))

    def _may(self, found: Json, request: Request) -> bool:
        """Say whether the caller may: a URL for all needs a permission for all, any other one a signature."""
        if found["AuthType"] == "AWS_IAM":
            return "Authorization" in request.headers
        function = self._find("", found["FunctionArn"], "")
        latest = lambda_backends[DEFAULT_ACCOUNT_ID][function.region].get_function(function.function_name)
        statements = [*latest.policy.statements, *function.policy.statements]
        return any(one["Action"] == "lambda:InvokeFunctionUrl" for one in statements)


def _event(request: Request, path: str) -> Json:
    content = request.get_data()
    text = request.mimetype.startswith("text/") or request.mimetype == "application/json"
    return without_nothing(
        {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": request.query_string.decode(),
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "queryStringParameters": request.args.to_dict() or None,
            "requestContext": {
                "http": {"method": request.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
                "requestId": str(uuid.uuid4()),
                "routeKey": "$default",
                "stage": "$default",
                "timeEpoch": int(time.time() * 1000),
            },
            "body": (content.decode() if text else base64.b64encode(content).decode()) if content else None,
            "isBase64Encoded": bool(content) and not text,
        }.items()
    )


def _written(answer: Any) -> Response:
    """Give a function's answer over HTTP; one without a status is JSON as it is."""
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return Response(json.dumps(answer), content_type="application/json")
    body = answer.get("body") or ""
    content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    headers = {"Content-Type": "application/json"} | {k: str(v) for k, v in (answer.get("headers") or {}).items()}
    return Response(content, answer["statusCode"], headers)
