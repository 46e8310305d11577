"""What tests of ``labelloop test-endpoint`` share: servers that answer wrongly in one way."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from werkzeug.serving import make_server

from labelloop.endpoint_suite.runner import SuiteRun
from labelloop.serve.answering import Admission
from labelloop.serve.engines.base import Engine, open_engine
from labelloop.serve.pinned import PinnedCatalog
from labelloop.serve.references import References
from labelloop.serve.server import inference_app
from labelloop.settings import Settings
from labelloop.types import Answer, Failure
from support.inference import SECONDS
from support.servers import free_port

Answers = Sequence[Answer | Failure]
Spoil = Callable[["Wrong", Sequence[bytes], str], Answers]


class Wrong:
    """An engine that answers as ``spoil`` makes of the right one."""

    def __init__(self, bundle: Path, spoil: Spoil) -> None:
        self.right = open_engine(bundle, "onnx")
        self.info = self.right.info
        self.calls = 0
        self.inside = 0
        self._spoil = spoil

    @property
    def measured(self) -> "Wrong":
        return self

    def pixels(self, contents: Sequence[bytes]) -> int:
        return self.right.pixels(contents)

    def predict(self, contents: Sequence[bytes], version: str) -> Answers:
        self.calls += 1
        return self._spoil(self, contents, version)


@contextmanager
def served(engine: Engine) -> Iterator[str]:
    """Serve one engine with the container's own routes; gives the address."""
    catalog = PinnedCatalog("v1", lambda: engine)
    catalog.start()
    assert catalog.settled.wait(SECONDS)
    app = inference_app(catalog, Admission(32, 32), References(Settings()), body_max_bytes=20_000_000)
    server = make_server("127.0.0.1", free_port(), app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join(SECONDS)
        server.server_close()


def failed(tested: SuiteRun) -> dict[str, str]:
    return {one.name: one.detail for one in tested.checked if one.outcome == "failed"}
