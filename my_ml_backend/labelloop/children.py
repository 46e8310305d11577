"""Child processes that never outlive their parent.

Run as ``python -m labelloop.children PARENT COMMAND...`` this module asks the kernel to end the process with its parent
(prctl(2), PR_SET_PDEATHSIG; Linux), then becomes COMMAND: the request survives exec, and nothing runs between fork and
exec in a threaded parent. Elsewhere than on Linux the command simply starts. With ``--whole`` before PARENT it does not
become COMMAND but waits for it, so that all that somebody else's program has started ends with the parent, too.
"""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, NamedTuple, NoReturn

_PR_SET_PDEATHSIG = 1
_WHOLE = "--whole"


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


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """End this process, by a signal, as soon as process ``parent`` is gone; at once if it already is."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, by)
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


def start_program(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    stdin: IO[bytes] | None = None,
    keep: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start somebody else's program, which ends with this process and takes along what it has started meanwhile.

    It leads a process group, as ``start_child``'s does; both of its outputs are pipes, and the descriptors ``keep`` are
    open in it, too. Raises OSError.
    """
    shim = [sys.executable, "-P", str(Path(__file__)), _WHOLE, str(os.getpid()), *command]
    return subprocess.Popen(
        shim,
        env=environment,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
        pass_fds=tuple(keep),
    )


def stop_group(child: "subprocess.Popen[bytes]", grace: float) -> None:
    """Ask a child and all of its group to end, and after ``grace`` seconds end them; one that has ended is left."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
        if child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(seconds)


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
    if parent == _WHOLE:
        _stand_for(int(command[0]), command[1:])
    die_with_parent(int(parent))
    os.execvp(command[0], command)  # noqa: S606 - a list of arguments, no shell


def _stand_for(parent: int, command: Sequence[str]) -> NoReturn:
    """Run a command and end as it does; when the parent is gone, end it and the rest of this process group."""
    signal.signal(signal.SIGUSR1, lambda *_: os.killpg(0, signal.SIGKILL))
    # The command hears it too, and what it makes of that is waited for.
    signal.signal(signal.SIGTERM, lambda *_: None)
    die_with_parent(parent, signal.SIGUSR1)
    try:
        status = subprocess.Popen(command, close_fds=False).wait()
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error.strerror}\n")
        sys.exit(127)
    if status < 0:
        with suppress(OSError):  # of SIGKILL there is no handler to take away
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    _main()
