"""The door of the stand-in: every request passes here, is noted, may be refused, and goes to us or to moto."""

import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug import Request, Response

from labelloop.types import Json
from support.aws.wire import Call, Refused, read_call
from support.plans import Plans
from support.serving import Handler as KeptOpen
from support.serving import HungUp
from support.serving import serving as served

Handler = Callable[[Call], Json | Response | None]
"""Answers a call; None leaves it to moto."""

OUR_OWN = "stand-in-itself"
"""What stands in the user agent of the stand-in's own requests: they are neither noted nor refused."""


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
    plans: Plans[Call] = field(default_factory=Plans)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    busy_seconds: float = 0.0
    """In which at least one call was being answered."""
    _answering: int = 0
    _began: float = 0.0
    _moto: Any = field(default_factory=_moto)

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
        self.plans.happen(call, call.name, call.operation, after=after)


class _Handler(KeptOpen, MotoRequestHandler):
    """Keeps the spelling of headers, too, as moto wants it for S3."""


@contextmanager
def serving(app: Any, port: int = 0) -> Iterator[str]:
    """Serve a WSGI app as moto has to be; gives its address."""
    with served(app, port, _Handler) as address:
        yield address


def refusing(code: str, status: int, message: str) -> Callable[[Call], None]:
    """Give what refuses a call."""

    def refuse(call: Call) -> None:
        raise Refused(code, message or f"{code}: the stand-in was told so", status)

    return refuse


def hang_up(call: Call) -> None:
    """End the connection without an answer."""
    raise HungUp(call.name)
