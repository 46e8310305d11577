"""The supervisor over real processes: shell scripts that note in a file what happens to them."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from labelloop.children import start_child
from labelloop.errors import QueueError, ServiceError, SettingsError
from labelloop.supervise import ChildService, Supervisor, require_free
from support.waiting import wait_until

pytestmark = pytest.mark.process

_CODE = Path(__file__).resolve().parents[2] / "my_ml_backend"
_SCRIPT = """
import signal, sys
from pathlib import Path
from labelloop.children import start_child
from labelloop.supervise import ChildService, Supervisor
notes = Path(sys.argv[1])
child = lambda: start_child(["sh", "-c", f"echo $$ >> {notes}; exec sleep 600"])
print("up", flush=True)
Supervisor([ChildService("sleeper", child, ready=notes.exists)]).run()
"""


def notes(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def noting(path: Path, name: str) -> ChildService:
    """A service that notes its name when it starts, and once more when it is asked to end."""
    script = f"trap 'echo {name}-ends >> {path}; exit' TERM; echo {name} >> {path}; while :; do sleep 0.01; done"
    return ChildService(name, lambda: start_child(["sh", "-c", script]), ready=lambda: name in notes(path))


def test_services_start_in_order_and_end_in_reverse(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    supervisor = Supervisor([noting(path, "redis"), noting(path, "worker"), noting(path, "web")])
    supervisor.start()
    supervisor.stop()
    assert notes(path) == ["redis", "worker", "web", "web-ends", "worker-ends", "redis-ends"]


def test_a_service_whose_settings_are_wrong_is_not_started_again(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    script = f"echo start >> {starts}; exit {os.EX_CONFIG}"
    supervisor = Supervisor([ChildService("worker", lambda: start_child(["sh", "-c", script]), lambda: False)])

    with pytest.raises(SettingsError, match="worker cannot work with these settings"):
        supervisor.start()
    assert notes(starts) == ["start"]


def test_a_dead_service_is_started_again(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    supervisor = Supervisor([noting(path, "web")], backoff=0.01)
    supervisor.start()
    victim = next(child for child in psutil.Process().children() if child.cmdline()[:1] == ["sh"])
    victim.kill()

    def again() -> bool:
        supervisor.tend()
        return notes(path) == ["web", "web"]

    wait_until(again, "it is started again", 20)
    supervisor.stop()


def test_a_service_that_keeps_ending_ends_everything_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    failing = ChildService("inference", lambda: start_child(["sh", "-c", "exit 7"]))
    supervisor = Supervisor([noting(path, "redis"), failing], restarts=2, backoff=0.01)
    with pytest.raises(ServiceError, match=r"inference ended 3 times in a row, last with: exit status 7"):
        supervisor.run()
    assert notes(path) == ["redis", "redis-ends"]


def test_a_service_that_cannot_even_start_is_tried_as_often() -> None:
    missing = ChildService("redis", lambda: start_child(["/nonexistent/redis-server"]))
    with pytest.raises(ServiceError, match="redis ended 2 times in a row"):
        Supervisor([missing], restarts=1, backoff=0.01).run()


def test_what_a_service_itself_says_at_its_first_start_is_not_tried_again(tmp_path: Path) -> None:
    def start() -> "subprocess.Popen[bytes]":
        raise QueueError("another one is running")

    with pytest.raises(QueueError, match="another one is running"):
        Supervisor([noting(tmp_path / "notes", "first"), ChildService("redis", start)]).run()
    assert notes(tmp_path / "notes") == ["first", "first-ends"]


def test_a_service_that_is_never_ready_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    deaf = ChildService("web", noting(path, "web").start, ready=lambda: False, ready_seconds=0.2)
    with pytest.raises(ServiceError, match=r"web was not ready within 0\.2 s"):
        Supervisor([deaf]).run()


def test_a_service_that_does_not_want_to_end_is_killed_with_its_children(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    script = f"trap '' TERM; sleep 600 & echo $! >> {path}; while :; do sleep 0.01; done"
    stubborn = ChildService(
        "worker", lambda: start_child(["sh", "-c", script]), ready=lambda: bool(notes(path)), grace_seconds=0.1
    )
    supervisor = Supervisor([stubborn])
    supervisor.start()
    supervisor.stop()
    wait_until(lambda: not running(int(notes(path)[0])), "the child has ended", 20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_calmly(tmp_path: Path, number: signal.Signals) -> None:
    supervisor = supervising(tmp_path / "notes")
    child = int(notes(tmp_path / "notes")[0])
    supervisor.send_signal(number)
    assert supervisor.wait(20) == 0
    assert not running(child)


def test_children_never_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    supervisor = supervising(tmp_path / "notes")
    child = int(notes(tmp_path / "notes")[0])
    assert running(child)
    supervisor.kill()
    supervisor.wait(20)
    wait_until(lambda: not running(child), "the child has ended", 20)


_PARENT = """
import os, sys
os.system(" ".join(sys.argv[2:]))
"""

_CHILD = """
import sys
from pathlib import Path
from labelloop.children import launcher_is_gone, start_child
from labelloop.supervise import ChildService, Supervisor
is_over = launcher_is_gone("label-studio-ml", "start")
notes = Path(sys.argv[1])
beats = "while :; do echo $$ >> " + str(notes) + "; sleep 0.05; done"
Supervisor([ChildService("beats", lambda: start_child(["sh", "-c", beats]))], is_over=is_over).run()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("shell", ["", "exec "])
def test_everything_ends_with_the_command_that_started_it(tmp_path: Path, number: signal.Signals, shell: str) -> None:
    path = tmp_path / "notes"
    (tmp_path / "label-studio-ml").write_text(_PARENT)
    (tmp_path / "child.py").write_text(_CHILD)
    # A shell either becomes the command or waits for it, as it likes; with "true" behind it, it waits.
    command = f"{shell}{sys.executable} {tmp_path / 'child.py'} {path}{'' if shell else '; true'}"
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "label-studio-ml"), "start", command],
        env={**os.environ, "PYTHONPATH": str(_CODE)},
    )
    wait_until(lambda: bool(notes(path)), "the child has started", 20)
    family = psutil.Process(parent.pid).children(recursive=True)
    parent.send_signal(number)
    parent.wait(20)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert not alive


def test_what_a_shell_started_goes_on_when_the_shell_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    (tmp_path / "child.py").write_text(_CHILD)
    subprocess.run(
        ["sh", "-c", f"{sys.executable} {tmp_path / 'child.py'} {path} & echo $! > {tmp_path / 'id'}", "start"],
        env={**os.environ, "PYTHONPATH": str(_CODE)},
        check=True,
    )
    child = psutil.Process(int(notes(tmp_path / "id")[0]))
    try:
        wait_until(lambda: len(notes(path)) > 10, "it goes on", 20)
    finally:
        child.terminate()
        child.wait(20)


def test_a_second_signal_does_not_wait_for_anybody(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    stubborn = f"""
import signal, sys, threading
from labelloop.children import start_child
from labelloop.supervise import ChildService, Supervisor
deaf = "trap '' TERM; echo $$ >> {path}; while :; do sleep 0.05; done"
Supervisor([ChildService("deaf", lambda: start_child(["sh", "-c", deaf]), grace_seconds=600)]).run()
"""
    supervisor = subprocess.Popen([sys.executable, "-c", stubborn], env={**os.environ, "PYTHONPATH": str(_CODE)})
    wait_until(lambda: bool(notes(path)), "it has started", 20)

    def ended() -> bool:
        supervisor.send_signal(signal.SIGINT)
        return supervisor.poll() is not None

    wait_until(ended, "it has ended", 20)
    assert not running(int(notes(path)[0]))


def test_a_taken_port_is_named_with_its_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"port {port} of 127\.0\.0\.1 cannot be had .*: choose another"):
            require_free("127.0.0.1", port, "choose another")
    require_free("127.0.0.1", port, "choose another")


def supervising(path: Path) -> "subprocess.Popen[bytes]":
    """A supervisor in a process of its own, with one child whose process id it has written to ``path``."""
    supervisor = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT, str(path)], env={**os.environ, "PYTHONPATH": str(_CODE)}, stdout=subprocess.PIPE
    )
    assert supervisor.stdout is not None
    with supervisor.stdout as output:
        assert output.readline() == b"up\n"
    wait_until(lambda: bool(notes(path)), "the child has started", 20)
    return supervisor


def running(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
