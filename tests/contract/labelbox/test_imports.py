"""Predictions on their way into a model run, or a project: over the wire, by the real SDK, whatever happens to them."""

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from labelloop.errors import LabelboxAway, LabelboxDenied, LabelboxError, LabelLoopError, ModelRunGone, StoreError
from labelloop.labelbox import imports
from labelloop.labelbox.client import Labelbox, Pace
from labelloop.labelbox.imports import Uploaded, to_project, upload
from labelloop.settings import Settings
from labelloop.types import Json
from support.labelbox import LabelboxStandIn, Row, data_row_id, ontology, radio
from support.labelbox.front import Answered
from support.labelbox.wire import answer

BEGIN = "createMEAPredictionImportByFilePyApi"
LOOK = "getModelErrorAnalysisPredictionImportPyApi"
ONTOLOGY = ontology(radio("scene", ("sea", "forest")))
ROWS = [Row(data_row_id(str(number)), text=f"text {number}") for number in range(6)]
PACE = Pace(wait=lambda _: None)


def line(number: int, said: str = "sea") -> Json:
    """Give a prediction for a row."""
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, str(number))),
        "dataRow": {"id": ROWS[number].id},
        "name": "scene",
        "answer": {"name": said, "confidence": 0.75},
    }


def metric(number: int) -> Json:
    """Give a metric of a row."""
    row = {"id": ROWS[number].id}
    return {"uuid": str(uuid.uuid4()), "dataRow": row, "metricName": "loss", "metricValue": 0.5}


LINES = [line(number) for number in range(len(ROWS))]


@pytest.fixture
def client(labelbox: LabelboxStandIn) -> Iterator[Labelbox]:
    settings = Settings.from_environment(labelbox.environment)
    found = Labelbox(settings, wait=lambda _: None)
    yield found
    found.close()


@pytest.fixture
def run(labelbox: LabelboxStandIn) -> str:
    return labelbox.add_model_run(labelbox.add_model(ONTOLOGY), ROWS)


@pytest.fixture
def uploaded(client: Labelbox, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Uploads":
    monkeypatch.setattr(imports, "LINES", 2)
    return Uploads(client, run, tmp_path / "uploads")


class Uploads:
    """Uploads lines, two a file, and notes what it is told of the progress."""

    def __init__(self, client: Labelbox, run: str, folder: Path) -> None:
        self.client, self.run, self.folder = client, run, folder
        self.told: list[tuple[int, int]] = []

    def __call__(self, lines: list[Json] = LINES, pace: Pace = PACE, client: Labelbox | None = None) -> Uploaded:
        try:
            return upload(
                client or self.client,
                self.run,
                iter(lines),
                "v7 of cars/1",
                self.folder,
                lambda done, total: self.told.append((done, total)),
                pace,
            )
        finally:
            assert list(self.folder.glob("*")) == []


def test_lines_arrive_in_files_one_after_another(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    lines = [*LINES[:4], metric(4)]
    assert uploaded(lines) == Uploaded(lines=5)
    found = labelbox.imports(uploaded.run)
    assert [one.lines for one in found.values()] == [tuple(lines[:2]), tuple(lines[2:4]), tuple(lines[4:])]
    assert [name.rsplit("-", 2)[0] for name in found] == ["labelloop-v7-of-cars-1"] * 3
    assert [name.rsplit("-", 1)[1] for name in found] == ["1", "2", "3"]
    imported = [call for call in labelbox.calls if call in (BEGIN, LOOK)]
    assert imported == [LOOK, BEGIN, LOOK] * 3
    assert labelbox.predictions(uploaded.run) == lines
    assert sorted(uploaded.told) == uploaded.told
    assert {(0, 5), (2, 5), (4, 5), (5, 5)} <= set(uploaded.told)


def test_what_is_long_is_cut_by_its_bytes_too(
    labelbox: LabelboxStandIn, uploaded: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "LINES", 50_000)
    monkeypatch.setattr(imports, "_BYTES", 2 * len(json.dumps(LINES[0])))
    uploaded()
    assert [len(one.lines) for one in labelbox.imports(uploaded.run).values()] == [3, 3]


def test_no_lines_upload_nothing(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    assert uploaded([]) == Uploaded()
    assert labelbox.calls == []


def test_a_repeat_uploads_nothing_again_and_tells_the_same(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    bad = line(1, "mountain")
    first = uploaded([LINES[0], bad, LINES[2]])
    begun = labelbox.calls.count(BEGIN)
    assert uploaded([LINES[0], bad, LINES[2]]) == first
    assert labelbox.calls.count(BEGIN) == begun == 2


def test_a_killed_upload_is_taken_up_where_it_was(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    class Killed(BaseException):
        pass

    def killed(done: int, total: int) -> None:
        if done >= 2:
            raise Killed

    uploaded.folder.mkdir()
    (uploaded.folder / "9.ndjson").write_text("what a killed process left\n")
    with pytest.raises(Killed):
        upload(uploaded.client, uploaded.run, LINES, "v7 of cars/1", uploaded.folder, killed, PACE)
    assert uploaded() == Uploaded(lines=6)
    assert labelbox.calls.count(BEGIN) == 3
    assert [one.lines for one in labelbox.imports(uploaded.run).values()] == [
        tuple(LINES[:2]),
        tuple(LINES[2:4]),
        tuple(LINES[4:]),
    ]


def test_of_two_that_upload_at_once_none_sends_a_file_of_the_other(
    labelbox: LabelboxStandIn, uploaded: Uploads
) -> None:
    begun, over = threading.Event(), threading.Event()

    def other(done: int, total: int) -> None:
        begun.set()
        assert over.wait(30)

    def overtaken(done: int, total: int) -> None:
        if not begun.is_set():
            waiting.append(threads.submit(send, LINES[4:], other))
            assert begun.wait(30)

    def send(lines: list[Json], progress: imports.Progress) -> Uploaded:
        return upload(uploaded.client, uploaded.run, lines, "v7", uploaded.folder, progress, PACE)

    waiting: list[Future[Uploaded]] = []
    with ThreadPoolExecutor(1) as threads:
        with pytest.raises(LabelLoopError):
            send(LINES[:4], overtaken)
        over.set()
        assert waiting[0].result() == Uploaded(lines=2)
    assert [one.lines for one in labelbox.imports(uploaded.run).values()] == [tuple(LINES[4:])]


def test_an_import_that_is_still_running_is_waited_for_not_sent_again(
    labelbox: LabelboxStandIn, uploaded: Uploads
) -> None:
    labelbox.spoil_import(hangs=True)
    with pytest.raises(LabelboxAway):
        uploaded(LINES[:2], Pace(still=0.0, wait=lambda _: None))
    looked = labelbox.calls.count(LOOK)
    assert uploaded(LINES[:2], Pace(wait=lambda _: labelbox.release_imports(uploaded.run))).lines == 2
    assert labelbox.predictions(uploaded.run) == LINES[:2]
    assert labelbox.calls.count(BEGIN) == 1
    assert labelbox.calls.count(LOOK) == looked + 2


def test_an_import_that_never_ends_is_an_outage_that_tells_where_it_stood(
    labelbox: LabelboxStandIn, uploaded: Uploads
) -> None:
    labelbox.spoil_import(hangs=True)
    waits: list[float] = []
    with pytest.raises(LabelboxAway, match=r"still importing labelloop-v7-of-cars-1-\w+-1 into model run .*, at 0%"):
        uploaded(pace=Pace(first=0.25, most=1.0, still=3.0, wait=waits.append, clock=lambda: sum(waits)))
    assert waits == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_only_an_import_in_which_nothing_moves_is_given_up(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    labelbox.spoil_import(hangs=True)
    waits: list[float] = []

    def moves(seconds: float) -> None:
        """Let it move every other time that it is looked at, and end in the end."""
        waits.append(seconds)
        (made,) = labelbox.annotation_imports.of(uploaded.run)
        made.count, made.lines = 100, 25 * (len(waits) // 2)
        if len(waits) == 8:
            labelbox.release_imports(uploaded.run)
            assert made.thread is not None
            made.thread.join()

    pace = Pace(first=0.25, most=1.0, still=1.5, wait=moves, clock=lambda: sum(waits))
    assert uploaded(LINES[:2], pace).lines == 2
    assert waits == [0.25, 0.5, *[1.0] * 6]
    assert uploaded.told[-3:] == [(1, 2), (1, 2), (2, 2)]


def test_bad_lines_take_nothing_from_the_others_and_are_told(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    lines = [LINES[0], line(1, "mountain"), line(2, "mountain"), {**LINES[3], "dataRow": {"id": "gone"}}, LINES[4]]
    found = uploaded(lines)
    assert (found.lines, found.refused) == (5, 3)
    assert found.reasons == (
        f"data row {ROWS[1].id}: the ontology has no answer of scene mountain",
        f"data row {ROWS[2].id}: the ontology has no answer of scene mountain",
        "data row gone: data row gone is not in the model run",
    )
    assert found.told == f"5 lines uploaded, 3 of them refused: {'; '.join(found.reasons)}"
    assert labelbox.predictions(uploaded.run) == [LINES[0], LINES[4]]


@pytest.mark.slow
def test_one_bad_line_in_50_000(labelbox: LabelboxStandIn, client: Labelbox, tmp_path: Path) -> None:
    rows = [Row(data_row_id(str(number)), text="a text") for number in range(50_001)]
    run = labelbox.add_model_run(labelbox.add_model(ONTOLOGY), rows)
    said = ({"dataRow": {"id": row.id}, "name": "scene", "answer": {"name": "sea"}} for row in rows)
    labelbox.spoil_import(refused=[31_415])
    found = upload(client, run, said, "v1", tmp_path / "uploads", _none)
    assert found.reasons == (f"data row {rows[31_415].id}: the stand-in was told to refuse this line",)
    assert (found.lines, found.refused, len(labelbox.predictions(run))) == (50_001, 1, 50_000)
    assert [len(one.lines) for one in labelbox.imports(run).values()] == [50_000, 1]


def test_an_import_that_fails_as_a_whole_is_told_and_made_anew_by_the_next_try(
    labelbox: LabelboxStandIn, uploaded: Uploads
) -> None:
    for _ in range(2):
        labelbox.spoil_import(fails=True)
        with pytest.raises(LabelboxError, match="failed to import 2 predictions into model run") as caught:
            uploaded(LINES[:2])
        assert not isinstance(caught.value, LabelboxAway)
    assert uploaded(LINES[:2]) == Uploaded(lines=2)
    names = list(labelbox.imports(uploaded.run))
    assert names[1:] == [f"{names[0]}-2", f"{names[0]}-3"]


def test_what_fails_for_ever_is_not_begun_for_ever(
    labelbox: LabelboxStandIn, uploaded: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_NAMES", 2)
    for _ in range(2):
        labelbox.spoil_import(fails=True)
        with pytest.raises(LabelboxError):
            uploaded(LINES[:2])
    with pytest.raises(LabelboxError, match="has failed 2 times"):
        uploaded(LINES[:2])
    assert labelbox.calls.count(BEGIN) == 2


@pytest.mark.parametrize("how", ["unavailable", "hung up", "html"])
def test_a_file_whose_answer_is_lost_is_found_again_and_sent_once(
    labelbox: LabelboxStandIn, uploaded: Uploads, how: str
) -> None:
    labelbox.fail(BEGIN, how, after=True)
    assert uploaded(LINES[:2]) == Uploaded(lines=2)
    assert labelbox.calls.count(BEGIN) == 1
    assert labelbox.predictions(uploaded.run) == LINES[:2]


@pytest.mark.parametrize("how", ["unavailable", "rate limit", "hung up"])
def test_a_file_that_did_not_arrive_is_sent_whole_again(labelbox: LabelboxStandIn, uploaded: Uploads, how: str) -> None:
    labelbox.fail(BEGIN, how, times=2)
    assert uploaded(LINES[:2]) == Uploaded(lines=2)
    assert labelbox.calls.count(BEGIN) == 3
    assert labelbox.predictions(uploaded.run) == LINES[:2]


def test_a_503_that_lasts_is_an_outage_and_nothing_is_lost(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    labelbox.fail(BEGIN, times=None)
    with pytest.raises(LabelboxAway):
        uploaded()
    labelbox.mend()
    assert uploaded() == Uploaded(lines=6)


def test_another_that_began_the_same_at_the_same_time_is_waited_for(
    labelbox: LabelboxStandIn, uploaded: Uploads
) -> None:
    def other(_: Any) -> None:
        labelbox.front.plans.forget()
        upload(uploaded.client, uploaded.run, LINES[:2], "v7 of cars/1", uploaded.folder.with_name("b"), _none, PACE)

    labelbox.before(BEGIN, other)
    assert uploaded(LINES[:2]) == Uploaded(lines=2)
    assert len(labelbox.imports(uploaded.run)) == 1


def _none(done: int, total: int) -> None:
    """Hear of no progress."""


def test_an_unknown_name_may_be_answered_with_null(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    def null(_: Any) -> None:
        raise Answered(answer({"data": {"modelErrorAnalysisPredictionImport": None}}))

    labelbox.before(LOOK, null)
    assert uploaded(LINES[:2]) == Uploaded(lines=2)


def test_a_link_that_has_expired_is_asked_for_anew(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    labelbox.before("GET import", lambda _: labelbox.expire_links())
    assert uploaded([LINES[0], line(1, "mountain")]).refused == 1
    assert labelbox.calls.count("GET import") == 2


@pytest.mark.parametrize(("how", "tries"), [("forbidden", 3), ("unavailable", 3)])
def test_refusals_that_cannot_be_read_do_not_undo_what_is_there(
    labelbox: LabelboxStandIn, uploaded: Uploads, how: str, tries: int
) -> None:
    labelbox.fail("GET import", how, times=None)
    found = uploaded([LINES[0], line(1, "mountain")])
    assert (found.lines, found.refused) == (2, 0)
    assert found.reasons[0].startswith("how many more is not known: what was refused of labelloop-v7-of-cars-1-")
    assert "signature" not in found.told
    assert labelbox.calls.count("GET import") == tries


def test_a_model_run_that_was_deleted_ends_the_upload(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    labelbox.before(BEGIN, lambda _: labelbox.delete_model_run(uploaded.run))
    with pytest.raises(ModelRunGone):
        uploaded()


def test_a_model_run_that_is_deleted_while_it_imports_ends_the_wait(
    labelbox: LabelboxStandIn, uploaded: Uploads
) -> None:
    labelbox.spoil_import(hangs=True)
    with pytest.raises(ModelRunGone):
        uploaded(pace=Pace(wait=lambda _: labelbox.delete_model_run(uploaded.run)))


def test_a_key_without_rights_is_told_at_once(labelbox: LabelboxStandIn, uploaded: Uploads) -> None:
    labelbox.deny(BEGIN)
    with pytest.raises(LabelboxDenied):
        uploaded()
    assert labelbox.calls.count(BEGIN) == 1


def test_a_full_disk_is_told_with_its_folder(uploaded: Uploads, tmp_path: Path) -> None:
    (tmp_path / "uploads").write_text("a file where the folder should be")
    with pytest.raises(StoreError, match="predictions that are to be uploaded cannot be kept in"):
        upload(uploaded.client, uploaded.run, LINES, "v7", tmp_path / "uploads", _none, PACE)


def test_pre_labels_arrive_in_a_project_without_metrics(
    labelbox: LabelboxStandIn, client: Labelbox, tmp_path: Path
) -> None:
    project = labelbox.add_project(ONTOLOGY, ROWS[:2])
    lines = [LINES[0], metric(0), LINES[1], LINES[2]]
    found = to_project(client, project, lines, "v7", tmp_path / "uploads", _none, PACE)
    assert (found.lines, found.refused) == (3, 1)
    assert labelbox.predictions(project) == LINES[:2]
    assert to_project(client, project, lines, "v7", tmp_path / "uploads", _none, PACE) == found
    assert labelbox.calls.count("createMALPredictionImportByFilePyApi") == 1


def test_a_project_that_there_is_not_is_named(labelbox: LabelboxStandIn, client: Labelbox, tmp_path: Path) -> None:
    with pytest.raises(LabelboxError, match=r"no project cm0+, .*LABELLOOP_LABELBOX_PRELABEL_PROJECT"):
        to_project(client, "cm00000000000000000000000", LINES, "v7", tmp_path / "uploads", _none, PACE)
