"""``labelloop test-endpoint`` of texts, spans and boxes: what is right passes, and what is wrong is told."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.endpoint_suite.runner import SuiteRun, run_suite
from labelloop.endpoint_suite.samples import made_samples
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import SettingsError
from labelloop.serve.engines.base import open_engine
from labelloop.types import Answer, Box, Failure, Findings, Region, Span
from support.inference import inference
from support.region_bundles import make_box_bundle, make_span_bundle
from support.suites import Answers, Spoil, Wrong, failed, served

pytestmark = pytest.mark.process

MAKERS: dict[str, Callable[[Path], Path]] = {"spans": make_span_bundle, "boxes": make_box_bundle}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: make(tmp_path_factory.mktemp(kind) / "bundle") for kind, make in MAKERS.items()}


@pytest.fixture(scope="module")
def addresses(bundles: dict[str, Path]) -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        yield {kind: stack.enter_context(served(open_engine(path, "onnx"))) for kind, path in bundles.items()}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_right_endpoint_passes_every_check(kind: str, addresses: dict[str, str], bundles: dict[str, Path]) -> None:
    tested = run_suite(EndpointSpec(addresses[kind]), bundles[kind])
    assert (tested.code, failed(tested), tested.version) == (0, {}, "v1")
    golden = tested.checked[1]
    what = "texts" if kind == "spans" else "pictures"
    assert (golden.name, golden.detail.split(", ")[0].split()[1]) == ("golden samples", what)
    assert int(golden.detail.split(", ")[1].split()[0]) > 5, "samples in which nothing is found compare nothing"


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_a_container_passes_every_check(kind: str, bundles: dict[str, Path], tmp_path: Path) -> None:
    with inference(tmp_path, bundle=bundles[kind]) as server:
        tested = run_suite(EndpointSpec(server.address), bundles[kind])
    assert (tested.code, failed(tested)) == (0, {})


@pytest.mark.parametrize("name", ["sagemaker://any?region=eu-west-1", "vertex://p/europe-west4/7"])
def test_both_clouds_carry_texts(
    name: str, addresses: dict[str, str], bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from support.aws_wire import aws_account

    aws_account(monkeypatch, sagemaker_runtime=addresses["spans"])
    spec = EndpointSpec(name, base=addresses["spans"])
    tested = run_suite(spec, bundles["spans"], arguments=("-k", "golden or format or batch or bad_input"))
    assert (tested.code, failed(tested)) == (0, {})


def each(change: Callable[[Region, bytes], Region | None]) -> Spoil:
    """Change every region that is found, or take it away."""

    def spoil(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
        answers = wrong.right.predict(contents, version)
        return [_changed(answer, content, change) for answer, content in zip(answers, contents, strict=True)]

    return spoil


def _changed(
    answer: Answer | Failure, content: bytes, change: Callable[[Region, bytes], Region | None]
) -> Answer | Failure:
    if not isinstance(answer, Findings):
        return answer
    return replace(answer, regions=tuple(two for one in answer.regions if (two := change(one, content)) is not None))


def in_bytes(region: Region, content: bytes) -> Region:
    text = content.decode()
    assert isinstance(region.shape, Span)
    start, end = (len(text[:at].encode()) for at in (region.shape.start, region.shape.end))
    return replace(region, shape=Span(start, min(end, len(text))) if start < len(text) else region.shape)


def swapped(region: Region, _: bytes) -> Region:
    names = {"PER": "LOC", "LOC": "PER", "cell": "disk", "disk": "cell"}
    return replace(region, label=names[region.label])


def across(region: Region, _: bytes) -> Region:
    assert isinstance(region.shape, Box)
    box = region.shape
    return replace(region, shape=Box(box.y, box.x, box.height, box.width))


def less_sure(region: Region, _: bytes) -> Region:
    return replace(region, score=0.9 * (region.score or 0.0))


def turned_round(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    return wrong.right.predict(contents, version)[::-1]


def guessing(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    answers = wrong.right.predict(contents, version)
    return [Findings((), version) if isinstance(one, Failure) else one for one in answers]


def all_that_is_found(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    return wrong.right.measured.predict(contents, version)


@pytest.mark.parametrize(
    ("kind", "spoil", "check", "said"),
    [
        ("spans", each(in_bytes), "golden samples", "emoji: 'PER' at "),
        ("spans", each(swapped), "golden samples", "the scores are right, but under other classes"),
        ("boxes", each(across), "golden samples", "is missing, there are 1 regions instead of 1"),
        ("boxes", each(less_sure), "golden samples", "regions ('disk' at "),
        ("spans", each(lambda *_: None), "golden samples", "is missing, there are 0 regions instead of "),
        ("spans", all_that_is_found, "golden samples", "is none of the "),
        ("spans", turned_round, "batch equals single", " of 16 samples differ; "),
        ("spans", guessing, "bad input (bytes that are no text)", "it was answered with a prediction"),
    ],
    ids=["bytes", "names", "axes", "scores", "nothing", "unsure", "order", "guessing"],
)
def test_what_is_wrong_is_told(kind: str, spoil: Spoil, check: str, said: str, bundles: dict[str, Path]) -> None:
    wrong = Wrong(bundles[kind], spoil)
    with served(wrong) as address:
        arguments = ("-k", "golden or batch or (bad_input and text)")
        tested: SuiteRun = run_suite(EndpointSpec(address), bundles[kind], arguments=arguments)
    assert said in failed(tested).get(check, ""), failed(tested)


def test_texts_of_a_folder_are_asked_for_too(
    addresses: dict[str, str], bundles: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "own.txt").write_text("Bob Smith is in Berlin.")
    (tmp_path / "photo.jpg").write_bytes(b"")
    spec = EndpointSpec(addresses["spans"])
    tested = run_suite(spec, bundles["spans"], own=tmp_path, arguments=("-k", "golden"))
    assert tested.checked[0].detail.startswith(f"{len(made_samples('text')) + 1} texts, ")
    (tmp_path / "latin.txt").write_bytes("Müller".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"latin\.txt is no text in UTF-8"):
        run_suite(spec, bundles["spans"], own=tmp_path)
    with pytest.raises(SettingsError, match="holds no picture"):
        run_suite(EndpointSpec(addresses["boxes"]), bundles["boxes"], own=tmp_path / "..")
