"""The door of the stand-in: every request passes here, is noted, may be refused, and goes to us or to moto."""

import io
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug import Request, Response
from werkzeug.serving import ThreadedWSGIServer

from labelloop.types import Json
from support.aws.wire import Call, HungUp, Refused, read_call

Handler = Callable[[Call], Json | Response | None]
"""Answers a call; None leaves it to moto."""

OUR_OWN = "stand-in-itself"
"""What stands in the user agent of the stand-in's own requests: they are neither noted nor refused."""


@dataclass
class _Planned:
    """What happens at the next calls of an operation."""

    operation: str
    times: int | None
    act: Callable[[Call], None]
    after: bool = False


def _moto() -> Any:
    """Make moto's app, which looks for the service of a host once: it would list its folders at every request."""
    app: Any = DomainDispatcherApplication(create_backend_app)
    app.get_backend_for_host = cache(app.get_backend_for_host)
    return app


@dataclass
class Front:
    """A WSGI app: its own ``operations`` (such as ``sagemaker:UpdateEndpoint``) and ``paths``, and moto behind them."""

    operations: dict[str, Handler] = field(default_factory=dict)
    paths: dict[str, Callable[[Request], Response]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    _plans: list[_Planned] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    busy_seconds: float = 0.0
    """In which at least one call was being answered."""
    _answering: int = 0
    _began: float = 0.0
    _moto: Any = field(default_factory=_moto)

    def plan(self, operation: str, act: Callable[[Call], None], times: int | None = 1, *, after: bool = False) -> None:
        """Let ``act`` happen before (or after) the next calls of an operation, with or without its service's name."""
        with self._lock:
            self._plans.append(_Planned(operation, times, act, after))

    def forget(self) -> None:
        """Forget all calls and plans."""
        with self._lock:
            self.calls.clear()
            self._plans.clear()

    def pass_on(self, call: Call) -> Response:
        """Let moto answer."""
        call.request.environ["wsgi.input"].seek(0)
        return Response.from_app(self._moto, call.request.environ, buffered=True)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with self._busy():
            return self._routed(environ, start_response)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        with self._lock:
            self._answering += 1
            if self._answering == 1:
                self._began = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._answering -= 1
                if not self._answering:
                    self.busy_seconds += time.perf_counter() - self._began

    def _routed(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        for path, answer in self.paths.items():
            if request.path.startswith(path):
                return answer(request)(environ, start_response)
        return self._answer(read_call(request))(environ, start_response)

    def _answer(self, call: Call) -> Response:
        ours = OUR_OWN in call.request.headers.get("User-Agent", "")
        try:
            if not ours:
                self._happen(call, after=False)
            handler = self.operations.get(call.name)
            answer = handler(call) if handler else None
            if answer is None:
                answer = self.pass_on(call)
            elif not isinstance(answer, Response):
                answer = call.answer(answer)
            if not ours:
                self._happen(call, after=True)
        except Refused as refused:
            return call.refusal(refused)
        except NotImplementedError as error:
            return call.refusal(Refused("NotImplemented", f"the stand-in has no {call.name}: {error}", 501))
        except HungUp:
            raise
        except Exception as error:  # noqa: BLE001 - border: as a service of AWS does, but telling why
            traceback.print_exc()
            return call.refusal(Refused("InternalFailure", f"{call.name}: {type(error).__name__}: {error}", 500))
        return answer

    def _happen(self, call: Call, *, after: bool) -> None:
        with self._lock:
            if not after:
                self.calls.append(call.name)
            plans = [one for one in self._plans if one.after == after and one.operation in (call.name, call.operation)]
            plan = next(iter(plans), None)
            if plan is None:
                return
            if plan.times is not None:
                plan.times -= 1
                if not plan.times:
                    self._plans.remove(plan)
        plan.act(call)


class _Server(ThreadedWSGIServer):
    """Serves each connection by a thread, and knows them: they end with it."""

    daemon_threads = True

    def __init__(self, port: int, app: Any) -> None:
        super().__init__("127.0.0.1", port, app, handler=_Handler)
        self.connections: set[socket.socket] = set()

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(MotoRequestHandler):
    """Serves a connection for as long as its client holds it: werkzeug's own closes it, and waits 10 ms, each time."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def log(self, type: str, message: str, *args: Any) -> None:
        """Say nothing."""

    def run_wsgi(self) -> None:
        environ = self.make_environ()
        length = self.headers.get("Content-Length")
        chunked = environ.get("wsgi.input_terminated", False)
        body = environ["wsgi.input"].read() if chunked else self.rfile.read(int(length or 0))
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        try:
            answer = Response.from_app(self.server.app, environ, buffered=True)
        except HungUp:
            self.close_connection = True
            return
        self._send(answer)

    def _send(self, answer: Response) -> None:
        content = answer.get_data()
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        # The length of what a HEAD would have got is an answer too.
        self.send_header("Content-Length", answer.headers.get("Content-Length") or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    """Serve a WSGI app by threads on a port of this machine; gives its address."""
    server = _Server(port, app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.end()
        thread.join()


def refusing(code: str, status: int, message: str) -> Callable[[Call], None]:
    """Give what refuses a call."""

    def refuse(call: Call) -> None:
        raise Refused(code, message or f"{code}: the stand-in was told so", status)

    return refuse


def hang_up(call: Call) -> None:
    """End the connection without an answer."""
    raise HungUp(call.name)
