"""The pytest plugin: hands the checks what they share, and notes how each of them ended."""

import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass

import pytest

from labelloop.endpoint_suite.bad import bad_requests
from labelloop.endpoint_suite.compare import Answers, Wrong
from labelloop.endpoint_suite.deployed import Deployed
from labelloop.endpoint_suite.suite import Suite
from labelloop.errors import LabelLoopError


@dataclass(frozen=True, slots=True)
class Checked:
    """How one check ended: ``outcome`` is passed, failed or skipped.

    ``detail`` is what was measured, or what is wrong; ``meaning`` what a failure tells of the endpoint.
    """

    name: str
    outcome: str
    detail: str
    meaning: str
    seconds: float


class Plugin:
    """Fixtures and hooks; ``checked`` grows while the checks run."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self.checked: list[Checked] = []

    @pytest.fixture
    def suite(self) -> Suite:
        """Give what the checks share."""
        return self._suite

    @pytest.fixture
    def deployed(self) -> Deployed:
        """Give the endpoint under test."""
        return self._suite.deployed

    @pytest.fixture
    def singles(self) -> Answers:
        """Give the endpoint's answer to every picture by itself."""
        return self._suite.singles()

    @pytest.fixture
    def note(self, request: pytest.FixtureRequest) -> Callable[[str], None]:
        """Give a function that keeps what a check measured."""
        return lambda text: request.node.user_properties.append(("note", text))

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one check of each request format, and of each bad request."""
        formats = self._suite.deployed.formats
        if "request_format" in metafunc.fixturenames:
            metafunc.parametrize("request_format", formats)
        if "bad" in metafunc.fixturenames:
            requests = bad_requests(formats, self._suite.samples[0].content)
            metafunc.parametrize("bad", requests, ids=lambda bad: bad.name)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note how a check ended; where not even a picture alone is answered, there is nothing more to check."""
        report = yield
        if report.when == "call" or report.outcome != "passed":
            self.checked.append(_checked(item, call, report))
            if report.failed and (item.name == "test_ping" or report.when == "setup"):
                item.session.shouldstop = "the endpoint does not answer"
        return report


def _checked(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> Checked:
    function = item.function if isinstance(item, pytest.Function) else None
    _, _, meaning = inspect.cleandoc(getattr(function, "__doc__", None) or "").partition("\n\n")
    notes = "; ".join(str(text) for name, text in item.user_properties if name == "note")
    detail = notes if report.passed or call.excinfo is None else _reason(call.excinfo.value)
    name = item.name.removeprefix("test_").replace("_", " ").replace("[", " (").replace("]", ")")
    return Checked(name, report.outcome, detail, " ".join(meaning.split()), round(call.duration, 3))


def _reason(error: BaseException) -> str:
    """Say what is wrong; an error that nobody foresaw with its class."""
    foreseen = isinstance(error, (Wrong, LabelLoopError, pytest.skip.Exception))
    return str(error) if foreseen else f"{type(error).__name__}: {error}"
