"""How the tests are dealt out where several processes share them (``make test``), and how these report."""

import gc
import os
import re
import socketserver
import sys
from collections.abc import Generator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import support.examples  # noqa: F401 - registers the profile that `make test-fast` names

_STUDIO = "tests/e2e/"
_TESTS = str(Path(__file__).parent)

_EXPORTER = "torch.onnx._internal.exporter._registration"

_MEMORY, _ROOM = Path("/dev/shm"), 8 << 30
"""A file system in memory, and the bytes that it and the memory must have free; a whole run writes 2 GB."""

# It compiles 38 grammars, a second long, in each process that imports jsonschema; no schema here has what it checks.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# The stand-ins write headers and content apart: by Nagle's algorithm the content of each answer would wait 40 ms for
# the client's word that the headers have come. LabelLoop's own servers are none of these.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True


def pytest_configure(config: pytest.Config) -> None:
    """Let folders of tests lie in memory where there is room: on a disk, each fsync of a store takes milliseconds.

    Where several processes share the cores, threads of the products of matrices would spin while they wait for each
    other.
    """
    if hasattr(config, "workerinput"):
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if _has_room():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep each file's tests together, and all that share the one real Label Studio: for ``--dist loadscope``."""
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    scheduling = LoadScopeScheduling(config, log)
    scheduling._split_scope = _share
    return scheduling


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the garbage collector from looking, over and over, at what is collected here: that stays to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, Any]:
    """Let each process begin with other files: with a fresh clone, what one has compiled is read by the others."""
    report = yield
    worker = getattr(collector.config, "workerinput", None)
    if worker is not None and isinstance(collector, pytest.Directory) and report.result:
        begin = len(report.result) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        report.result = report.result[begin:] + report.result[:begin]
    return report


# First, because `-m` looks at the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark who asks a stand-in, and begin with what takes longest: Label Studio, then the files that train."""
    for item in items:
        for fixture, mark in (("stand_in", "aws"), ("google_session", "google"), ("labelbox_session", "labelbox")):
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)
    training = {item.path for item in items if item.get_closest_marker("train") is not None}
    # The path, because all processes have to agree on one order, and each has collected in another.
    items.sort(key=lambda item: (_share(item.nodeid) != _STUDIO, item.path not in training, item.path.parts))


def pytest_collection_finish() -> None:
    """Refuse test files that import torch at their top, and a folder of tests that hides a library.

    Each process that collects the former would wait seconds for it.
    """
    hiding = getattr(sys.modules.get("labelbox"), "__file__", None) or ""
    if _TESTS in hiding:
        raise pytest.UsageError(f"{hiding} hides Labelbox's SDK, which has that name: remove it, tests need none")
    if "torch" in sys.modules:
        raise pytest.UsageError("a test file imports torch as it is read: import it in the tests, marked `train`")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Spell out halves of surrogate pairs, which tests of wild input may log: no process can hand them on as UTF-8."""
    report = yield
    report.sections = [(title, _sendable(text)) for title, text in report.sections]
    if report.longrepr is not None and _sendable(str(report.longrepr)) != str(report.longrepr):
        report.longrepr = _sendable(str(report.longrepr))
    return report


@pytest.fixture(autouse=True)
def exports_share_the_list_of_operators(request: pytest.FixtureRequest) -> None:
    """Let all exports to ONNX of this process share what torch lists anew for each, half a second long."""
    exporter = sys.modules.get(_EXPORTER)
    if exporter is None or request.node.get_closest_marker("train") is None:
        return
    listed = exporter.ONNXRegistry.from_torchlib
    if not hasattr(listed, "cache_info"):
        exporter.ONNXRegistry.from_torchlib = staticmethod(cache(listed))


def _has_room() -> bool:
    try:
        memory, free = os.statvfs(_MEMORY), Path("/proc/meminfo").read_text()
    except OSError:
        return False
    available = re.search(r"^MemAvailable: +(\d+) kB$", free, re.MULTILINE)
    room = min(memory.f_bavail * memory.f_frsize, int(available[1]) << 10 if available else 0)
    # Tests write programs and run them.
    return room >= _ROOM and not memory.f_flag & os.ST_NOEXEC and os.access(_MEMORY, os.W_OK)


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _share(nodeid: str) -> str:
    return _STUDIO if nodeid.startswith(_STUDIO) else nodeid.partition("::")[0]
