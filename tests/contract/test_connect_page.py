"""docs/connect-your-endpoint.md: its model server runs, and ``labelloop probe`` shows what the page shows."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from PIL import Image

from labelloop.cli import main, settings_table
from support.servers import free_port
from support.waiting import wait_until

PAGE = (Path(__file__).parents[2] / "docs/connect-your-endpoint.md").read_text()
(SERVER,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(SHOWN,) = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)
(ENDPOINT, VERSION) = re.findall(r"export LABELLOOP_ENDPOINT=(\S+) LABELLOOP_MODEL_VERSION=(\S+)", PAGE)[0]
(SIZE, COLOUR) = re.findall(r"Image\.new\('RGB', \((\d+, \d+)\), '(\w+)'\)\.save\('tomato\.png'\)", PAGE)[0]

pytestmark = pytest.mark.process


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    """The page's server, on a port of its own."""
    port = free_port()
    script = tmp_path / "colours.py"
    script.write_text(SERVER.replace("8500", str(port)))
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    with (
        (tmp_path / "colours.log").open("wb") as log,
        subprocess.Popen([sys.executable, str(script)], env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(lambda: _answers(port), lambda: f"it answers:\n{(tmp_path / 'colours.log').read_text()}", 30.0)
            yield ENDPOINT.replace("8500", str(port))
        finally:
            process.terminate()


def test_probe_shows_what_the_page_shows(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for row in settings_table():
        monkeypatch.delenv(row["name"], raising=False)
    settings = {"MODEL_DIR": str(tmp_path), "LABELLOOP_ENDPOINT": endpoint, "LABELLOOP_MODEL_VERSION": VERSION}
    width, height = map(int, SIZE.split(", "))
    Image.new("RGB", (width, height), COLOUR).save(tmp_path / "tomato.png")

    told = CliRunner(env=settings).invoke(main, ["probe", "--file", str(tmp_path / "tomato.png")])

    assert told.exit_code == 0, told.output
    rest = told.output
    for part in SHOWN.split("...\n"):
        _, found, rest = rest.partition(part)
        assert found, f"{part}\nis not in\n{told.output}"


def _answers(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/", timeout=10.0).status_code > 0
    except requests.ConnectionError:
        return False
