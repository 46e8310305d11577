"""What ``labelloop demo`` refuses before it starts anything."""

import json
import socket
from pathlib import Path

import pytest

from labelloop.demo.ports import Ports
from labelloop.demo.run import DemoOptions, Kept, run_demo
from labelloop.errors import ServiceError, SettingsError
from labelloop.settings import Settings


def start(**options: object) -> None:
    run_demo(DemoOptions(Path("/nowhere/label-studio"), **options), Settings(), lambda _: None)  # type: ignore[arg-type]


def test_a_taken_port_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
        with pytest.raises(ServiceError, match=f"port {port} of 127.0.0.1 cannot be had .* --port"):
            start(port=port)


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(SettingsError, match="it holds something"):
        start(keep=tmp_path)


@pytest.mark.parametrize("options", [{"auto": True}, {"data": Path("x")}, {"kind": "text"}, {"port": 1}])
def test_what_begins_another_demo_does_not_go_on_with_one_that_was_kept(
    tmp_path: Path, options: dict[str, object]
) -> None:
    Kept(Ports(8080, 9090, 9091), 1).write(tmp_path)
    assert Kept.read(tmp_path) == Kept(Ports(8080, 9090, 9091), 1)
    with pytest.raises(SettingsError, match="goes on"):
        start(keep=tmp_path, **options)


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"ports": {}, "project": 1}), json.dumps({"project": 1})])
def test_a_damaged_note_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "demo.json").write_text(content)
    with pytest.raises(SettingsError, match=r"demo\.json cannot be read"):
        start(keep=tmp_path)
