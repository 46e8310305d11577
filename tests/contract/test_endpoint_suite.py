"""``labelloop test-endpoint``: it passes what is right, and each wrong server fails the check that is meant for it."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import labelloop
from labelloop.cli import main
from labelloop.endpoint_suite.runner import SuiteRun, run_suite
from labelloop.endpoints.spec import EndpointSpec
from labelloop.errors import BundleError, SettingsError, Unreadable
from labelloop.models.archive import write_archive
from labelloop.pictures import decode
from labelloop.serve.engines.base import open_engine
from labelloop.types import Failure, Output
from support.aws_wire import aws_account
from support.bundles import COLOURS, make_bundle, picture
from support.inference import inference
from support.servers import free_port
from support.suites import Answers, Spoil, Wrong, failed, served

pytestmark = pytest.mark.process


def each(change: Callable[[Output], Output | Failure]) -> Spoil:
    """Change every output."""

    def spoil(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
        answers = wrong.right.predict(contents, version)
        return [change(one) if isinstance(one, Output) else one for one in answers]

    return spoil


def right(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    return wrong.right.predict(contents, version)


def renamed(one: Output) -> Output:
    names = [*COLOURS[1:], COLOURS[0]]
    scores = dict(zip(names, one.scores.values(), strict=True))
    return replace(one, scores=scores, label=max(scores, key=scores.__getitem__))


def of_half_the_classes(one: Output) -> Output:
    best, other = sorted(one.scores, key=one.scores.__getitem__)[:-3:-1]
    return replace(one, scores={best: one.score, other: 1 - one.score} if one.score >= 0.5 else {best: one.score})


def as_multiple(one: Output) -> Output:
    return replace(one, choice="multiple")


def cropping(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    """Take the middle of a picture instead of squeezing all of it, as many a container does."""

    def middle(content: bytes) -> bytes:
        try:
            image = decode(content)
        except Unreadable:
            return content
        stream = io.BytesIO()
        width, height = image.size
        image.crop((width // 3, height // 3, 2 * width // 3, 2 * height // 3)).save(stream, "PNG")
        return stream.getvalue()

    return wrong.right.predict([middle(content) for content in contents], version)


def turned_round(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    return wrong.right.predict(contents, version)[::-1]


def failing(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    answers = wrong.right.predict(contents, version)
    if any(isinstance(one, Failure) for one in answers):
        raise RuntimeError("the decoder fell over")
    return answers


def guessing(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    """Answer for what cannot be read as for a grey picture."""
    (grey,) = wrong.right.predict([picture("grey")], version)
    return [grey if isinstance(one, Failure) else one for one in wrong.right.predict(contents, version)]


def hurt(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    """Fail for good after the first bad picture."""
    if wrong.inside:
        raise RuntimeError("out of memory")
    answers = wrong.right.predict(contents, version)
    wrong.inside += any(isinstance(one, Failure) for one in answers)
    return answers


def of_two_versions(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    return wrong.right.predict(contents, f"{version}-{wrong.calls % 2}")


def shared(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
    """Answer wrongly whenever somebody else is being answered."""
    wrong.inside += 1
    try:
        threading.Event().wait(0.02)
        alone = wrong.inside == 1
        answers = wrong.right.predict(contents, version)
        return answers if alone else [renamed(one) if isinstance(one, Output) else one for one in answers]
    finally:
        wrong.inside -= 1


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle")
    make_bundle(directory)
    return directory


@pytest.fixture(scope="module")
def address(bundle: Path) -> Iterator[str]:
    with served(open_engine(bundle, "onnx")) as address:
        yield address


# What is right


def test_a_right_endpoint_passes_every_check(address: str, bundle: Path) -> None:
    tested = run_suite(EndpointSpec(address), bundle)
    assert (tested.code, failed(tested), tested.version) == (0, {}, "v1")
    names = [one.name for one in tested.checked]
    assert names[:6] == ["ping", "golden samples", "scores", "version", "format (raw)", "format (instances)"]
    assert names[6:9] == ["batch equals single", "concurrent requests", "latency"]
    assert len(names[9:]) == 8
    assert all(name.startswith("bad input (") for name in names[9:])
    assert all(one.meaning for one in tested.checked)


@pytest.mark.parametrize("name", ["sagemaker://any?region=eu-west-1", "vertex://p/europe-west4/7", "{}/invocations"])
def test_each_kind_of_address_is_tested(name: str, address: str, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aws_account(monkeypatch, sagemaker_runtime=address)
    tested = run_suite(EndpointSpec(name.format(address), base=address), bundle)
    assert (tested.code, failed(tested)) == (0, {})
    assert len(tested.checked) == 17


def test_multiple_choice_and_an_archive_and_pictures_of_a_folder(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", choice="multiple")
    write_archive(tmp_path / "bundle", tmp_path / "model.tar.gz")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/mine.png").write_bytes(picture("purple"))
    (tmp_path / "pictures/damaged.jpg").write_bytes(b"no picture")
    (tmp_path / "pictures/notes.txt").write_bytes(b"")
    with served(open_engine(tmp_path / "bundle", "onnx")) as address:
        tested = run_suite(EndpointSpec(address), tmp_path / "model.tar.gz", own=tmp_path / "pictures")
    assert (tested.code, failed(tested)) == (0, {})
    assert tested.checked[1].detail.startswith("19 pictures")


@pytest.mark.train
def test_a_container_with_torchscript_answers_as_the_bundle_does(tmp_path: Path) -> None:
    make_bundle(tmp_path / "bundle", torchscript=True)
    with inference(tmp_path, bundle=tmp_path / "bundle", ENGINE="torchscript") as server:
        tested = run_suite(EndpointSpec(server.address), tmp_path / "bundle")
    assert (tested.code, failed(tested)) == (0, {})


def test_a_request_format_with_an_option_is_named_whole(address: str, bundle: Path) -> None:
    spec = EndpointSpec(f"{address}/invocations", request="json:instances[].b64")
    tested = run_suite(spec, bundle, arguments=("-k", "test_format"))
    assert [(one.name, one.outcome) for one in tested.checked] == [("format (json:instances[].b64)", "passed")]


def test_arguments_go_to_pytest(address: str, bundle: Path) -> None:
    tested = run_suite(EndpointSpec(address), bundle, arguments=["-k", "version or ping"])
    assert [one.name for one in tested.checked] == ["ping", "version"]
    assert run_suite(EndpointSpec(address), bundle, arguments=["-k", "nothing"]).passed is False


# What is wrong


def test_classes_in_another_order_are_told(bundle: Path) -> None:
    tested = wrongly(each(renamed), bundle)
    assert failed(tested).keys() == {"golden samples"}
    assert "the scores are right, but under other classes" in failed(tested)["golden samples"]


def test_another_preparation_is_told_with_the_pictures_that_show_it(bundle: Path) -> None:
    tested = wrongly(cropping, bundle)
    assert failed(tested).keys() == {"golden samples"}
    said = failed(tested)["golden samples"]
    assert "of 17 samples differ; photo.jpg: 'red' 0.4" in said
    assert "red.png" not in said  # of one colour: its middle is like all of it


def test_another_version_is_told(bundle: Path, tmp_path: Path) -> None:
    make_bundle(tmp_path, gain=3.0)
    tested = wrongly(right, bundle, deployed=tmp_path)
    assert failed(tested).keys() == {"golden samples"}
    assert run_with(right, bundle, tolerance=0.5, deployed=tmp_path, only="golden").passed


def test_a_batch_in_another_order_is_told(bundle: Path) -> None:
    tested = wrongly(turned_round, bundle)
    assert failed(tested).keys() == {"batch equals single"}
    assert "those of the single pictures in another order" in failed(tested)["batch equals single"]


def test_failing_at_bad_input_is_told(bundle: Path) -> None:
    wrong = failed(wrongly(failing, bundle))
    assert wrong.keys() == {
        f"bad input ({name})"
        for name in ("text as picture", "truncated JPEG", "huge picture", "truncated JPEG among instances")
    }
    assert all("answered 500" in detail for detail in wrong.values())


def test_a_prediction_for_bad_input_is_told(bundle: Path) -> None:
    wrong = failed(wrongly(guessing, bundle))
    assert wrong["bad input (truncated JPEG)"] == "it was answered with a prediction"


def test_an_endpoint_that_does_not_live_on_is_told(bundle: Path) -> None:
    wrong = failed(wrongly(hurt, bundle))
    assert "after it, a good picture is not answered" in wrong["bad input (text as picture)"]
    assert {name.partition(" (")[0] for name in wrong} == {"bad input"}


def test_answers_of_two_versions_are_told(bundle: Path) -> None:
    tested = wrongly(of_two_versions, bundle)
    assert failed(tested) == {"version": "answers came from the versions 'v1-0', 'v1-1'"}


def test_the_wrong_kind_is_told(bundle: Path) -> None:
    wrong = failed(wrongly(each(as_multiple), bundle))
    assert wrong == {"scores": "photo.jpg: answered as multiple choice, the bundle is of kind single"}


def test_requests_that_disturb_each_other_are_told(bundle: Path) -> None:
    assert failed(wrongly(shared, bundle)).keys() == {"concurrent requests"}


def test_a_latency_beyond_the_limit_is_told_and_measured(address: str, bundle: Path) -> None:
    tested = run_suite(EndpointSpec(address), bundle, latency_ms=0.001, arguments=["-k", "latency"])
    assert "limit 0.001 ms" in failed(tested)["latency"]
    assert 0 < tested.latency["p50_ms"] <= tested.latency["p95_ms"]
    assert run_suite(EndpointSpec(address), bundle, latency_ms=60_000, arguments=["-k", "latency"]).passed


def test_nothing_more_is_asked_where_nothing_answers(bundle: Path) -> None:
    tested = run_suite(EndpointSpec(f"http://127.0.0.1:{free_port()}"), bundle)
    assert [one.name for one in tested.checked] == ["ping"]
    assert "cannot be reached" in failed(tested)["ping"]


def test_nothing_more_is_asked_where_not_even_one_picture_is_answered(bundle: Path) -> None:
    def broken(wrong: Wrong, contents: Sequence[bytes], version: str) -> Answers:
        raise RuntimeError("no memory")

    tested = wrongly(broken, bundle)
    assert [one.name for one in tested.checked] == ["ping", "golden samples"]
    assert "answered 500" in failed(tested)["golden samples"]


def wrongly(spoil: Spoil, bundle: Path, deployed: Path | None = None) -> SuiteRun:
    tested = run_with(spoil, bundle, deployed=deployed)
    assert not tested.passed
    return tested


def run_with(
    spoil: Spoil, bundle: Path, *, tolerance: float = 1e-3, deployed: Path | None = None, only: str = "not latency"
) -> SuiteRun:
    with served(Wrong(deployed or bundle, spoil)) as address:
        return run_suite(EndpointSpec(address), bundle, tolerance=tolerance, arguments=["-k", only])


# The command


def test_what_cannot_be_tested_is_refused_before_anything_is_asked(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="of no known kind"):
        run_suite(EndpointSpec("ftp://host"), bundle)
    with pytest.raises(SettingsError, match="holds no picture"):
        run_suite(EndpointSpec("http://127.0.0.1:9"), bundle, own=tmp_path)
    with pytest.raises(BundleError, match=r"model\.json cannot be read"):
        run_suite(EndpointSpec("http://127.0.0.1:9"), tmp_path)


def test_without_pytest_the_command_says_how_to_get_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)
    ran = CliRunner().invoke(main, ["test-endpoint", "--bundle", str(bundle)])
    assert ran.exit_code == 1
    assert "pip install 'labelloop[test]'" in ran.output


def test_the_command_tells_every_check_and_writes_them_down(address: str, bundle: Path, tmp_path: Path) -> None:
    command = ["test-endpoint", "--endpoint", address, "--bundle", str(bundle), "--json", str(tmp_path / "found.json")]
    ran = CliRunner().invoke(main, [*command, "--", "-k", "ping or latency"])
    assert ran.exit_code == 0, ran.output
    assert "ok   latency: p50 " in ran.output
    assert f"endpoint {address} passed 2 checks" in ran.output
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["passed"], found["endpoint"]) == (True, address)
    assert [one["name"] for one in found["checks"]] == ["ping", "latency"]
    assert found["latency"]["requests"] == 30


def test_the_command_reads_nothing_of_the_place_it_is_started_in(address: str, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (tmp_path / "conftest.py").write_text("raise SystemExit('read')\n")
    command = [sys.executable, "-m", "labelloop", "test-endpoint", "--endpoint", address, "--bundle", str(bundle)]
    ran = subprocess.run(
        [*command, "--latency-ms", "0.001", "--", "-k", "ping or latency"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(labelloop.__file__).parents[1]), "MODEL_DIR": str(tmp_path / "m")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    assert "BAD  latency: p50 " in ran.stdout
    assert "     -> The machine is too small" in ran.stdout
    assert "1 of 2 checks failed" in ran.stdout
    assert sorted(file.name for file in tmp_path.iterdir()) == ["conftest.py", "pytest.ini"]
