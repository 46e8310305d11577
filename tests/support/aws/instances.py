"""Instances of Lambda functions: a child process each, which takes its events from a Runtime API.

Contract: "Using the Lambda runtime API for custom runtimes" in AWS's documentation.
"""

import json
import queue
import re
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from werkzeug import Request, Response

from labelloop.children import start_child, stop_group
from support.aws.front import serving
from support.programs import this_python

_START_SECONDS = 60.0
_RUNTIME = "/2018-06-01/runtime/"
_TMP = re.compile(r"(?<![\w/.-])/tmp(?=/|$|\W)")


@dataclass(frozen=True, slots=True)
class Answered:
    """What a function gave; ``error`` is ``Unhandled`` where that is no answer of its own."""

    payload: bytes
    version: str = ""
    error: str = ""


@dataclass
class _Invocation:
    payload: bytes
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    taken: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    answer: Answered | None = None

    def end(self, answer: Answered) -> None:
        self.answer = answer
        self.done.set()


class Instance:
    """One running copy of a function's version, and the Runtime API it talks to. It does one thing at a time."""

    def __init__(self, function: Any, folder: Path, environment: dict[str, str]) -> None:
        self.function = function
        self._waiting: queue.Queue[_Invocation | None] = queue.Queue()
        self._now: _Invocation | None = None
        self._lock = threading.Lock()
        self._closing = ExitStack()
        address = self._closing.enter_context(serving(self._runtime)).removeprefix("http://")
        (folder / "tmp").mkdir(parents=True)
        told = {name: _TMP.sub(str(folder / "tmp"), value) for name, value in function.environment_vars.items()}
        self.child = start_child(
            this_python([*function.image_config.entry_point, *function.image_config.cmd]),
            log=folder / "log.txt",
            environment={
                **environment,
                "TMPDIR": str(folder / "tmp"),
                "HOME": str(folder / "tmp"),
                **told,
                "AWS_LAMBDA_RUNTIME_API": address,
                "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
                "AWS_LAMBDA_FUNCTION_VERSION": str(function.version),
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_size),
                "AWS_REGION": function.region,
                "AWS_DEFAULT_REGION": function.region,
            },
        )

    def invoke(self, payload: bytes) -> Answered:
        """Have one event answered; what takes longer than the function's timeout ends the instance."""
        invocation = _Invocation(payload)
        with self._lock:
            self._waiting.put(invocation)
            if not self._wait(invocation.taken, _START_SECONDS):
                return self._lost("Runtime.ExitError", "Runtime exited before it took the event")
            if self._wait(invocation.done, float(self.function.timeout)):
                assert invocation.answer is not None
                return invocation.answer
            if self.child.poll() is not None:
                return self._lost(
                    "Runtime.ExitError", f"Runtime exited with error: exit status {self.child.returncode}"
                )
            self.end()
            return self._lost("Sandbox.Timedout", f"Task timed out after {self.function.timeout:.2f} seconds")

    def end(self) -> None:
        """End the program and its Runtime API."""
        self._waiting.put(None)
        stop_group(self.child, 0.5)
        self._closing.close()

    def _wait(self, event: threading.Event, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not event.wait(0.02):
            if self.child.poll() is not None or time.monotonic() > until:
                return event.is_set()
        return True

    def _lost(self, kind: str, message: str) -> Answered:
        content = json.dumps({"errorType": kind, "errorMessage": message})
        return Answered(content.encode(), error="Unhandled")

    def _runtime(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        return self._told(request, request.path.removeprefix(_RUNTIME))(environ, start_response)

    def _told(self, request: Request, path: str) -> Response:
        if path == "invocation/next":
            return self._next()
        _, _, rest = path.partition("/")
        word = rest.rpartition("/")[2]
        if self._now is not None and word in ("response", "error"):
            self._now.end(Answered(request.get_data(), error="Unhandled" if word == "error" else ""))
        return Response("{}", 202)

    def _next(self) -> Response:
        self._now = self._waiting.get()
        if self._now is None:
            return Response("", 500)
        self._now.taken.set()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": self._now.id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + self.function.timeout) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.function.function_arn,
        }
        return Response(self._now.payload, 200, headers, content_type="application/json")
