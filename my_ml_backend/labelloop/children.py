"""Child processes that never outlive their parent.

Run as ``python -m labelloop.children PARENT COMMAND...`` this module asks the kernel to end the process with its parent
(prctl(2), PR_SET_PDEATHSIG; Linux), then becomes COMMAND: the request survives exec, and nothing runs between fork and
exec in a threaded parent. Elsewhere than on Linux the command simply starts.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1


@contextmanager
def on_end_signal(ask: Callable[[], None]) -> Iterator[None]:
    """Call ``ask`` at SIGTERM and SIGINT inside the block, and give both signals back after it."""

    def heard(_number: int, _frame: FrameType | None) -> None:
        ask()

    before = {number: signal.signal(number, heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def die_with_parent(parent: int) -> None:
    """End this process by SIGKILL as soon as process ``parent`` is gone; at once if it already is."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def launcher_is_gone(name: str, verb: str) -> Callable[[], bool]:
    """Make a check that says whether the command ``name verb`` that started this process is gone.

    It is looked for as the parent, or behind a shell that is the parent: a killed parent of a shell takes nothing with
    it. For a process that such a command did not start the answer is always no, whatever becomes of its parents.
    """
    for process in (os.getppid(), _look(os.getppid()).parent):
        found = _look(process)
        if name in (Path(word).name for word in found.words) and verb in found.words:
            return lambda: _look(process).begun != found.begun
    return lambda: False


class _Process(NamedTuple):
    """What Linux says of a process; of one that has ended, or elsewhere, nothing."""

    parent: int = 0
    begun: str = ""
    words: tuple[str, ...] = ()


def _look(process: int) -> _Process:
    folder = Path("/proc") / str(process)
    try:
        # proc_pid_stat(5): behind the name come the state, the parent, and as the 20th the time of its start.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return _Process()
    return _Process() if fields[0] in "ZX" else _Process(int(fields[1]), fields[19], tuple(words))


def start_child(
    command: Sequence[str], *, log: Path | None = None, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[bytes]":
    """Start a command as a child that ends with this process; its output goes to ``log``, or where this one's goes.

    It leads a process group of its own: Ctrl-C reaches this process alone, which then ends its children in order.
    """
    # -P: this folder holds a types.py, which must not stand in for the standard library's.
    shim = [sys.executable, "-P", str(Path(__file__)), str(os.getpid()), *command]
    if log is None:
        return subprocess.Popen(shim, env=environment, stdin=subprocess.DEVNULL, process_group=0)
    with log.open("ab") as output:
        return subprocess.Popen(
            shim,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        )


def stop_child(child: "subprocess.Popen[bytes]", grace: float) -> None:
    """Ask a child to end, and after ``grace`` seconds end it and all of its group."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _main() -> None:
    parent, *command = sys.argv[1:]
    die_with_parent(int(parent))
    os.execvp(command[0], command)  # noqa: S606 - a list of arguments, no shell


if __name__ == "__main__":
    _main()
