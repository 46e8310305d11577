"""What is kept of a project's batch job."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from labelloop.errors import Fenced
from labelloop.models.file_store import FileStore
from labelloop.models.open_batch import OpenBatch, OpenBatches
from labelloop.types import ProjectKey

PROJECT = ProjectKey("1795187630", 7)


def test_a_job_is_opened_once_noted_and_closed(tmp_path: Path) -> None:
    kept = OpenBatches(FileStore(tmp_path), PROJECT)
    assert kept.read() == OpenBatch()
    kept.begin(OpenBatch("one", "v1", "here", tasks=5, open=True))
    with pytest.raises(Fenced, match="batch job one of 1795187630/7 was opened by another worker"):
        kept.begin(OpenBatch("two", "v1", "here", open=True))
    assert kept.note("one", "arn", 4).handle == "arn"
    assert kept.note("one", "arn", 0).sent == 4, "what is not known leaves what is"
    assert kept.note("other", "else", 9) == kept.read() == OpenBatch("one", "v1", "here", "arn", 0.0, 5, 4, open=True)
    assert kept.close("other").open
    assert kept.take("one", left=2, pace=1.5, on="1 x m").open, "something of it may still lie in the cloud"
    assert kept.close("one").open is False
    kept.begin(OpenBatch("two", "v2", "here", open=True, pace=1.5, on="1 x m"))
    assert kept.take("two", failed="it is gone") == OpenBatch(
        "two", "v2", "here", open=True, taken=True, failed="it is gone", pace=1.5, on="1 x m"
    )
    kept.close("two")
    assert kept.note("two", "arn", 1).handle == "", "it is over"


def test_what_a_newer_release_adds_is_passed_over_and_what_is_damaged_counts_as_not_there(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    kept = OpenBatches(store, PROJECT)
    store.write(f"{PROJECT}/batch.json", json.dumps({"key": "one", "open": True, "new": 1}).encode())
    assert kept.read() == OpenBatch("one", open=True)
    store.write(f"{PROJECT}/batch.json", b"{")
    assert kept.read() == OpenBatch()
    assert kept.begin(OpenBatch("two", open=True)) == kept.read()
    assert json.loads(store.read(f"{PROJECT}/batch.json").content) == asdict(OpenBatch("two", open=True))
