"""A real inference server, in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

import labelloop
from support.servers import free_port
from support.waiting import wait_until

SCRIPT = """
import sys
from pathlib import Path
from labelloop.serve.options import ServeOptions
from labelloop.serve.server import serve
from labelloop.settings import Settings
port, bundle, version = sys.argv[1:]
options = ServeOptions(port=int(port), bundle=Path(bundle) if bundle else None, version=version or None)
serve(options, Settings.from_environment())
"""

SECONDS = 30.0
"""How long anything may take on a machine that does much else."""


@dataclass
class Inference:
    """A running server."""

    port: int
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def post(self, body: bytes, path: str = "/invocations", **headers: str) -> requests.Response:
        """Post with headers named as in ``content_type=...``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.post(self.address + path, data=body, headers=named, timeout=SECONDS)

    def stop(self) -> int:
        """End the server as clouds do, and give its exit code."""
        self.process.terminate()
        return self.process.wait(SECONDS)


@contextmanager
def inference(
    workdir: Path,
    *,
    bundle: Path | None = None,
    version: str = "",
    command: list[str] | None = None,
    script: str = SCRIPT,
    **environment: str,
) -> Iterator[Inference]:
    """Start a server on a free port and wait until it can serve; ``environment`` comes on top of this one's.

    ``command`` is given ``--port`` and ``--bundle``; without one, the entry point is called from ``script``, which is
    given port, bundle and version.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    port = free_port()
    log = workdir / "serve.log"
    paths = os.pathsep.join((str(Path(labelloop.__file__).parents[1]), os.environ.get("PYTHONPATH", "")))
    settings = {"MODEL_DIR": str(workdir / "models"), "PYTHONPATH": paths, "PYTHONWARNINGS": "error"}
    called = [sys.executable, "-c", script, str(port), str(bundle or ""), version]
    given = [*command, "--port", str(port), "--bundle", str(bundle)] if command else called
    with (
        log.open("wb") as output,
        subprocess.Popen(given, env=os.environ | settings | environment, stdout=output, stderr=output) as process,
    ):
        try:
            _wait(process, port, log)
            yield Inference(port, process, log)
        finally:
            process.terminate()
            process.wait(SECONDS)


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    def serves() -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{port}/ping", timeout=SECONDS).status_code == 200
        except requests.ConnectionError:
            return process.poll() is not None

    wait_until(serves, lambda: f"the server serves:\n{log.read_text()}", SECONDS)
    assert process.poll() is None, log.read_text()
