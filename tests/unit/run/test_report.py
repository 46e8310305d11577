"""The report: one file that stands alone, whatever a run's files hold."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelloop.run.folder import RunFolder
from labelloop.run.report.html import write_report
from support.examples import examples
from support.run_files import picture, write_run

VOID = {"meta", "img", "br", "link", "input", "hr", "rect", "line", "circle", "polyline"}
SECTIONS = {
    "verdict", "advice", "figures", "classes", "confusion", "mistakes", "label-errors", "calibration", "curves",
    "labels", "order", "robustness", "explanations", "augmentations", "data", "search", "reproduce",
}  # fmt: skip


class Page(HTMLParser):
    """Reads a page strictly: every tag that opens closes, in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="ascii"))
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def sections(self) -> set[str]:
        return {one["id"] for one in self.of("section") if "id" in one}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture
def copy(run: RunFolder, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(run.path, tmp_path / "run")))


def test_a_whole_run_has_every_section_and_each_says_what_it_is_for(run: RunFolder) -> None:
    page = Page(write_report(run))

    assert page.sections == SECTIONS
    assert len([one for one in page.of("p") if one.get("class") == "tells"]) == len(SECTIONS)
    assert {one["href"].removeprefix("#") for one in page.of("a")} == SECTIONS | {"content"}
    for expected in ("v8 replaces v7: as planned", "0.850 to 0.950", "task 101", "900 MB", "2 min 10 s"):
        assert expected in page.text
    assert "Left out" not in page.text


def test_it_stands_alone(run: RunFolder) -> None:
    page = Page(write_report(run))
    policy = next(one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy")

    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
    assert {name for name, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "form", "base"} == set()
    assert all(one["src"].startswith("data:image/jpeg;base64,") for one in page.of("img"))
    assert "://" not in run.report.read_text()
    assert "url(" not in run.report.read_text()


def test_whoever_cannot_see_it_is_told_too(run: RunFolder) -> None:
    page = Page(write_report(run))

    assert all(one.get("alt") for one in page.of("img"))
    assert all(one.get("aria-label") or one.get("aria-hidden") for one in page.of("svg"))
    assert page.of("th")
    assert all(one.get("scope") in {"row", "col"} for one in page.of("th"))


def test_of_a_few_test_pictures_nothing_is_judged_and_nothing_advised(copy: RunFolder) -> None:
    metrics, found, verdict = (
        json.loads(path.read_text()) for path in (copy.metrics, copy.evaluation / "robustness.json", copy.verdict)
    )
    same = {"value": 1.0, "low": 1.0, "high": 1.0}
    few = {"items": 1, "failed": 0, "accuracy": {"value": 1.0, "low": 0.206549, "high": 1.0}}
    metrics |= few | {"macro": {"f1": same}, "weighted": {"f1": {"value": 1.0, "low": None, "high": None}}}
    metrics["per_class"]["cat"]["intervals"] = {"recall": {"low": 0.34, "high": 1.0}}
    copy.metrics.write_text(json.dumps(metrics))
    (copy.evaluation / "robustness.json").write_text(json.dumps({**found, "pictures": 1}))
    level = {"value": 0.0, "low": 0.0, "high": 0.0}
    verdict["numbers"] |= {"test_items": 4, "lost": 0, "gained": 0, "difference": level}
    del verdict["numbers"]["decided_by"], verdict["numbers"]["refits"]
    copy.verdict.write_text(json.dumps(verdict))

    text = " ".join(Page(write_report(copy)).text.split())

    assert "0.207 to 1.000" in text
    assert "0.34 to 1.00" in text
    assert "1.000 to 1.000" not in text
    assert "-49.0 to +49.0" in text, "a record of an earlier release has no width"
    assert text.count("too few to say") == 2
    assert text.count("Too few test items to judge") == 2
    assert "Label more in all: too few test items to judge, 1 in all" in text
    assert "These are too few test items to judge: nothing follows from them yet." in text
    assert "augmentations realistic" not in text
    assert "Do not read scores" not in text


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    '\'--></style><iframe srcdoc="{{ 7 * 7 }}">\ud800',
)


def test_labels_are_text_whatever_they_hold(tmp_path: Path) -> None:
    page = Page(write_report(write_run(tmp_path / "run", HOSTILE, "</title><b onclick=alert(2)>&amp;")))

    assert page.sections == SECTIONS
    assert {name for name, _ in page.tags} & {"script", "iframe", "b"} == set()
    assert [name for _, attributes in page.tags for name in attributes if name.startswith("on")] == []
    assert all(one["src"].startswith("data:") for one in page.of("img"))
    assert HOSTILE[0] in page.text
    assert HOSTILE[1] in page.text
    assert "49" not in page.text.split("iframe")[1][:30]
    assert "</title><b onclick=alert(2)>&amp;" in page.text


@given(st.lists(st.text(min_size=1, max_size=12), min_size=3, max_size=3, unique=True))
@settings(max_examples=examples(10), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_labels_make_a_page(copy: RunFolder, names: list[str]) -> None:
    for path in (copy.metrics, copy.data):
        value = json.loads(path.read_text())
        value["classes"] = names
        path.write_text(json.dumps(value))

    assert Page(write_report(copy)).sections == SECTIONS


@pytest.mark.parametrize(
    ("missing", "sections"),
    [
        ("verdict.json", {"verdict", "labels"}),
        ("data.json", {"data"}),
        ("train.json", {"curves"}),
        ("run.json", set()),
        ("evaluation/metrics.json", {"figures", "classes", "confusion", "calibration"}),
        ("evaluation/predictions.npz", set()),
        ("evaluation/robustness.json", {"robustness"}),
        ("evaluation/explanations.json", {"explanations"}),
        ("evaluation/label_errors.json", {"label-errors"}),
        ("evaluation/mistakes.json", {"mistakes"}),
        ("evaluation/augmentations.png", {"augmentations"}),
        ("search/search.json", {"search"}),
    ],
)
def test_what_is_missing_leaves_its_section_out_and_what_is_damaged_is_named(
    copy: RunFolder, missing: str, sections: set[str]
) -> None:
    path = copy.path / missing
    path.unlink()
    page = Page(write_report(copy))
    assert page.sections == SECTIONS - sections
    assert "Left out" not in page.text

    path.write_text('{"accuracy": ')
    page = Page(write_report(copy))
    assert page.sections == SECTIONS - sections
    assert (f"its files are damaged or of another form: {path.name}" in page.text) is not missing.endswith("png")


def test_an_empty_folder_has_a_report_too(tmp_path: Path) -> None:
    page = Page(write_report(RunFolder(tmp_path)))

    assert page.sections == set()
    assert "no files yet" in page.text


@pytest.mark.parametrize(
    "content", ["[]", "7", "null", '{"classes": 3}', '{"accuracy": {"value": "high"}}', '{"errors": 7}']
)
def test_files_of_another_form_cost_no_more_than_their_sections(copy: RunFolder, content: str) -> None:
    for path in [*copy.path.glob("*.json"), *copy.evaluation.glob("*.json")]:
        path.write_text(content)

    assert "reproduce" in Page(write_report(copy)).sections


def test_numbers_that_are_none_are_not_measured(copy: RunFolder) -> None:
    text = copy.metrics.read_text().replace('"log_loss": 0.3', '"log_loss": NaN').replace("0.85", "-Infinity")
    copy.metrics.write_text(text)
    page = Page(write_report(copy))

    assert page.sections == SECTIONS
    assert "NaN" not in page.text
    assert "inf" not in page.text.split("Key figures")[-1][:600].replace("information", "")


def test_pictures_are_small_and_not_too_many(copy: RunFolder) -> None:
    (copy.evaluation / "augmentations.png").write_bytes(picture(3, 1500))
    page = Page(write_report(copy, picture_bytes=150_000))

    assert sum(len(one["src"]) for one in page.of("img")) <= 150_000
    assert copy.report.stat().st_size < 150_000 + 60_000
    assert "more pictures are left out, so that this file stays small" in page.text
    assert "mistakes" in page.sections


def test_no_file_outside_of_the_evaluation_is_shown(copy: RunFolder) -> None:
    (copy.path / "secret.png").write_bytes(picture(4, 20))
    (copy.evaluation / "explanations.json").write_text(
        json.dumps(
            [{"kind": "right", "grad_cam": "../../secret.png", "integrated_gradients": str(copy.path / "secret.png")}]
        )
    )

    assert "explanations" not in Page(write_report(copy)).sections


def test_many_classes_have_their_mix_ups_instead_of_a_matrix(copy: RunFolder) -> None:
    names = [f"class {at}" for at in range(40)]
    value = json.loads(copy.metrics.read_text()) | {"classes": names}
    value["confusion"] = [[9 if at == to else int((at, to) == (3, 5)) for to in range(40)] for at in range(40)]
    copy.metrics.write_text(json.dumps(value))
    page = Page(write_report(copy))

    assert "confusion" in page.sections
    assert "class 3" in page.text
    assert "class 9" not in page.text


def test_a_forced_version_says_so(copy: RunFolder) -> None:
    verdict = json.loads(copy.verdict.read_text()) | {"passed": True, "forced": True}
    copy.verdict.write_text(json.dumps(verdict))

    assert "promoted by force" in Page(write_report(copy)).text
