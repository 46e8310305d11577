"""Running the suite: pytest, with our checks alone and none of the configuration that lies around."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from labelloop.endpoint_suite import checks
from labelloop.endpoint_suite.deployed import Deployed
from labelloop.endpoint_suite.plugin import Checked, Plugin
from labelloop.endpoint_suite.samples import Sample, made_samples, samples_of
from labelloop.endpoint_suite.suite import Suite
from labelloop.endpoints.spec import EndpointSpec
from labelloop.models.archive import opened
from labelloop.models.bundle import check_bundle
from labelloop.serve.engines.onnx import OnnxEngine
from labelloop.serve.engines.opening import open_engine
from labelloop.types import Failure, Json, Output

_FOLDER = Path(str(checks.__file__)).parent
_ORDER = ("ping", "golden", "answers", "formats", "batches", "concurrency", "latency", "bad_input")


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
    pictures: Path | None = None,
    tolerance: float = 1e-3,
    latency_ms: float | None = None,
    arguments: Sequence[str] = (),
) -> SuiteRun:
    """Test an endpoint against a bundle, a folder or a ``model.tar.gz``; ``arguments`` are pytest's.

    Raises SettingsError for an impossible address or folder, BundleError for a damaged bundle.
    """
    deployed = Deployed(spec)
    samples = made_samples() + (samples_of(pictures) if pictures else ())
    with tempfile.TemporaryDirectory() as workdir:
        folder = opened(bundle, Path(workdir))
        info = check_bundle(folder, (OnnxEngine.file,))
        expected = _expected(folder, samples)
    suite = Suite(deployed, info, samples, expected, tolerance, latency_ms)
    plugin = Plugin(suite)
    code = int(pytest.main([*_isolated(), *arguments, *_files()], plugins=[plugin]))
    return SuiteRun(code, tuple(plugin.checked), deployed.shown, suite.version, suite.latency)


def _expected(folder: Path, samples: Sequence[Sample]) -> dict[str, Output | Failure]:
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
        f"--rootdir={_FOLDER}",
        f"--confcutdir={_FOLDER}",
        "--import-mode=importlib",
        "--quiet",
        "--no-header",
        "--tb=no",
        "-rN",
        "--disable-warnings",
    ]


def _files() -> list[str]:
    return [str(_FOLDER / f"test_{name}.py") for name in _ORDER]
