"""What processes count together is right however many there are, one after the other, and killed."""

import subprocess
import sys
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from labelloop.counters import FOLDER, Counters, LoopCounters, OfMachine, count_together, counting_folder
from labelloop.environment import shared_environment

# Chooses for the whole process how is counted, so that it has one of its own.
_WORKER = """
import os, signal, sys
from pathlib import Path
from labelloop.counters import LoopCounters, count_together
parent = os.getpid()
count_together(Path(sys.argv[1]), lambda: "worker" if os.getpid() == parent else "jobs")
counters = LoopCounters()
for job in range(5):
    child = os.fork()
    if not child:
        own = LoopCounters()
        own.called("cats", "left_alone" if job == 4 else "answered", 0.2)
        own.looked_up(1, 2)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    counters.worked("prelabel", "finished", 2.0)
sys.stdout.write(counters.page().get_data(as_text=True))
"""


def read(text: str) -> dict[str, float]:
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    return {f"{one.name} {' '.join(one.labels.values())}".strip(): one.value for one in samples}


def test_jobs_that_are_killed_count_on_where_the_last_one_ended(tmp_path: Path) -> None:
    (tmp_path / "counted").mkdir(mode=0o700)
    (tmp_path / "counted" / "counter_old.db").write_bytes(b"of a worker before")
    done = subprocess.run(
        [sys.executable, "-c", _WORKER, str(tmp_path / "counted")], capture_output=True, text=True, check=True
    )
    found = read(done.stdout)
    assert found["labelloop_endpoint_calls_total cats answered"] == 4
    assert found["labelloop_endpoint_seconds_count cats"] == 4
    assert found["labelloop_cache_lookups_total miss"] == 10
    assert found["labelloop_jobs_total prelabel finished"] == 5
    assert found["labelloop_job_seconds_sum prelabel"] == 10
    assert found["labelloop_endpoint_circuit_open cats"] == 1
    assert len([*(tmp_path / "counted").iterdir()]) == 5, "files do not grow with the jobs"


def test_servers_of_one_machine_count_apart_wherever_that_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    assert counting_folder("web-9090").parent == counting_folder("worker-9092").parent == tmp_path
    assert counting_folder("web-9090") != counting_folder("worker-9092")
    assert FOLDER not in shared_environment({FOLDER: str(tmp_path)}), "a trainer of a team's own is not among us"


@pytest.mark.parametrize("mode", [0o777, 0o722])
def test_a_folder_of_others_is_not_counted_in(tmp_path: Path, mode: int) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs").chmod(mode)
    with pytest.raises(OSError, match="not a folder of this user alone"):
        count_together(tmp_path / "theirs")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="not a folder of this user alone"):
        count_together(tmp_path / "link")


def test_endpoints_that_anybody_names_are_bounded() -> None:
    counters = LoopCounters()
    for at in range(100):
        counters.called(f"team-{at}", "answered", 0.1)
    found = read(counters.page().get_data(as_text=True))
    assert found["labelloop_endpoint_calls_total other answered"] == 68
    assert sum(name.startswith("labelloop_endpoint_calls_total") for name in found) == 33


def test_a_circuit_is_closed_when_the_endpoint_answers() -> None:
    counters = LoopCounters()
    for outcome, is_open in (("left_alone", 1), ("failed", 1), ("answered", 0)):
        counters.called("cats", outcome, 0.1)
        assert read(counters.page().get_data(as_text=True))["labelloop_endpoint_circuit_open cats"] == is_open


def test_routes_are_counted_by_their_rules_and_what_is_unknown_as_one() -> None:
    app, counters = Flask("counted"), Counters()
    counters.watch(app)
    app.add_url_rule("/of/<name>", view_func=lambda name: name)
    client = app.test_client()
    for path in ("/of/a", "/of/b", "/c", "/d"):
        client.get(path)
    found = read(counters.page().get_data(as_text=True))
    assert found["labelloop_requests_total /of/<name> 200"] == 2
    assert found["labelloop_requests_total unknown 404"] == 2


def test_the_disk_is_told_where_it_is_known(tmp_path: Path) -> None:
    found = read(Counters().page([OfMachine(tmp_path)]).get_data(as_text=True))
    assert 0 < found["labelloop_disk_free_bytes"] < found["labelloop_disk_size_bytes"]
    assert "labelloop_disk_free_bytes" not in read(
        Counters().page([OfMachine(tmp_path / "none")]).get_data(as_text=True)
    )
