"""Running the suite: pytest, with our checks alone and none of the configuration that lies around."""

import inspect
import os
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from labelloop.endpoint_suite import endpoint_checks
from labelloop.endpoint_suite.bad_requests import bad_requests
from labelloop.endpoint_suite.comparison import Answers, Wrong
from labelloop.endpoint_suite.samples import Sample, folder_samples, made_samples
from labelloop.endpoint_suite.suite import Subject, Suite
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import LabelLoopError
from labelloop.kinds.base import find
from labelloop.models.archive import bundle_folder
from labelloop.models.bundle import check_bundle, served_by
from labelloop.serve.engines.base import open_engine
from labelloop.types import Answer, Failure, Json

_CHECKS = Path(str(endpoint_checks.__file__))


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


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """What became of a test: pytest's exit code, every check, and the facts that were found."""

    code: int
    checked: tuple[Checked, ...]
    endpoint: str
    version: str
    latency: Json

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return self.code == 0

    def to_json(self) -> Json:
        """Write it down."""
        return {
            "endpoint": self.endpoint,
            "version": self.version,
            "passed": self.passed,
            "latency": self.latency,
            "checks": [asdict(one) for one in self.checked],
        }


def run_suite(
    spec: EndpointSpec,
    bundle: Path,
    *,
    own: Path | None = None,
    tolerance: float = 1e-3,
    latency_ms: float | None = None,
    arguments: Sequence[str] = (),
) -> SuiteRun:
    """Test an endpoint against a bundle, a folder or a ``model.tar.gz``; ``arguments`` are pytest's.

    ``own`` is a folder of samples beside the made ones.
    Raises SettingsError for an impossible address or folder, BundleError for a damaged bundle.
    """
    deployed = Subject(spec)
    with tempfile.TemporaryDirectory() as workdir:
        folder = bundle_folder(bundle, Path(workdir))
        info = check_bundle(folder, served_by("onnx"))
        item = find(info.kind).item
        samples = made_samples(item) + (folder_samples(own, item) if own else ())
        expected = _expected(folder, samples)
    suite = Suite(deployed, info, item, samples, expected, tolerance, latency_ms)
    plugin = Plugin(suite)
    code = int(pytest.main([*_isolated(), *arguments, str(_CHECKS)], plugins=[plugin]))
    return SuiteRun(code, tuple(plugin.checked), deployed.shown, suite.version, suite.latency)


def _expected(folder: Path, samples: Sequence[Sample]) -> dict[str, Answer | Failure]:
    answers = open_engine(folder, "onnx").predict([one.content for one in samples], "here")
    return {one.name: answer for one, answer in zip(samples, answers, strict=True)}


def _isolated() -> list[str]:
    """Read no configuration, no conftest and no plugin of the place we are in, and write nothing there."""
    return [
        "--disable-plugin-autoload",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        f"--rootdir={_CHECKS.parent}",
        f"--confcutdir={_CHECKS.parent}",
        "--import-mode=importlib",
        "--quiet",
        "--no-header",
        "--tb=no",
        "-rN",
        "--disable-warnings",
        # It looks through all of this process's memory for what nobody would be told of.
        "-p",
        "no:unraisableexception",
    ]


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
    def deployed(self) -> Subject:
        """Give the endpoint under test."""
        return self._suite.deployed

    @pytest.fixture
    def singles(self) -> Answers:
        """Give the endpoint's answer to every sample by itself."""
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
            requests = bad_requests(formats, self._suite.samples[0])
            metafunc.parametrize("bad", requests, ids=lambda bad: bad.name)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Note how a check ended; where not even one sample is answered, there is nothing more to check."""
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
    check, case, parameter = item.name.removeprefix("test_").partition("[")
    name = check.replace("_", " ") + (f" ({parameter.removesuffix(']')})" if case else "")
    return Checked(name, report.outcome, detail, " ".join(meaning.split()), round(call.duration, 3))


def _reason(error: BaseException) -> str:
    """Say what is wrong; an error that nobody foresaw with its class."""
    foreseen = isinstance(error, (Wrong, LabelLoopError, pytest.skip.Exception))
    return str(error) if foreseen else f"{type(error).__name__}: {error}"
