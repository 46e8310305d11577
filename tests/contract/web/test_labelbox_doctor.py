"""``labelloop labelbox doctor``: what it finds, over the wire, and what it says to do; never a secret."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask, Response, redirect

from labelloop.cli import main, settings_table
from labelloop.cli.doctor import diagnose
from labelloop.environment import environment_of
from labelloop.labelbox.diagnosis import base_url, check_public, check_reach
from labelloop.labelbox.signing import VECTOR_SECRET, signature
from labelloop.loop.hub import Hub
from labelloop.loop.worker import make_worker
from labelloop.settings import Settings
from labelloop.types import Finding, Json
from support.google import LOCATION, PROJECT, google_stand_in
from support.labelbox import (
    LabelboxStandIn,
    checklist,
    entity,
    free_text,
    labelbox_stand_in,
    ontology,
    radio,
    rectangle,
)
from support.labelbox.front import KEY
from support.misbehaving import answer, misbehaving
from support.serving import serving
from support.web import MakeHub, client_of

Doctor = Callable[..., tuple[dict[str, Json], Result]]


@pytest.fixture(scope="module")
def labelbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelboxStandIn]:
    with labelbox_stand_in(tmp_path_factory.mktemp("labelbox")) as made:
        yield made


@pytest.fixture
def hub(make_hub: MakeHub, labelbox: LabelboxStandIn) -> Hub:
    labelbox.reset()
    return make_hub(labelbox_secret=VECTOR_SECRET, labelbox_api_key=KEY, labelbox_endpoint=labelbox.endpoint)


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Run the command with the settings of a hub, and some that are others; gives findings by name, and all of it."""

    def run(hub: Hub, *arguments: str, **other: str) -> tuple[dict[str, Json], Result]:
        for row in settings_table():
            monkeypatch.delenv(row["name"], raising=False)
        given = replace(hub.settings, webhook_secret="hush")  # that of the other tests holds spaces
        for name, value in {**environment_of(given), **other}.items():
            monkeypatch.setenv(name, value)
        done = CliRunner().invoke(main, ["labelbox", "doctor", "--json", *arguments])
        assert isinstance(done.exception, SystemExit | None), done.exception
        return {found["name"]: found for found in json.loads(done.stdout or "[]")}, done

    return run


@pytest.fixture
def served(hub: Hub) -> Iterator[str]:
    with serving(client_of(hub).application) as url:
        yield url


@pytest.fixture
def worker(hub: Hub) -> Iterator[None]:
    made = make_worker(hub)
    made.register_birth()
    yield
    made.register_death()  # type: ignore[no-untyped-call]
    made.connection.close()


def model_run(labelbox: LabelboxStandIn, *features: Json) -> str:
    return labelbox.add_model_run(labelbox.add_model(ontology(*features)), [], name="the second", config={"epochs": 3})


@pytest.mark.usefixtures("worker")
def test_where_all_is_well_it_says_so_and_names_the_url(
    hub: Hub, served: str, doctor: Doctor, labelbox: LabelboxStandIn
) -> None:
    run = model_run(labelbox, rectangle("car"), rectangle("bus"), radio("scene", ("sea", "forest")))
    found, answer = doctor(hub, "--url", served, "--model-run", run)

    assert [one["name"] for one in found.values() if not one["ok"]] == []
    assert answer.exit_code == 0
    assert found["URL to enter in Labelbox"]["detail"] == f"{served}/labelbox"
    assert found["reached"]["detail"].startswith(f"{served}/labelbox/models answers in ")
    assert found["reached"]["detail"].endswith(", with 6 entries")
    assert found["reached"]["remedy"] == ""
    assert found["clock"]["ok"] if "clock" in found else True
    assert found["menu"]["detail"].startswith("bounding_box = 1, ner = 2, ")
    assert "the second" in found["model run"]["detail"]
    assert "config: epochs" in found["model run"]["detail"]
    assert "bounding_box (" in found["ontology"]["detail"]
    assert "2 classes" in found["ontology"]["detail"]
    assert "; not ner" in found["ontology"]["detail"]
    assert "@" in found["API key"]["detail"]


def test_nothing_that_it_says_or_asks_is_a_secret(hub: Hub, served: str, doctor: Doctor) -> None:
    _, answer = doctor(hub, "--url", served)
    text = CliRunner().invoke(main, ["labelbox", "doctor", "--url", served]).output

    for said in (answer.output, text):
        for secret in (VECTOR_SECRET, KEY, signature(VECTOR_SECRET, b"").partition("=")[2]):
            assert secret not in said
    assert "ok   signatures: 3 known ones" in text


def test_a_machine_without_anything_is_told_all_that_it_lacks(make_hub: MakeHub, doctor: Doctor) -> None:
    hub = make_hub(redis_url="redis://127.0.0.1:1/0", port=1)
    found, answer = doctor(hub)

    assert answer.exit_code == 1
    for name, what in {
        "secret": "LABELLOOP_LABELBOX_SECRET is not set",
        "API key": "LABELBOX_API_KEY is not set",
        "Redis": "",
        "workers": "",
        "reached": "http://127.0.0.1:1/labelbox/models cannot be reached",
    }.items():
        assert not found[name]["ok"]
        assert what in found[name]["detail"]
        assert found[name]["remedy"]
    assert "public address" in found["URL to enter in Labelbox"]["remedy"]


def test_a_key_that_is_nobodys_and_a_run_that_is_gone_are_told(
    hub: Hub, doctor: Doctor, labelbox: LabelboxStandIn
) -> None:
    found, _ = doctor(hub, "--model-run", "9e3f331a-551b-0e24-6ab5-f69855df64ea")
    assert found["API key"]["ok"]
    assert not found["model run"]["ok"]
    assert "has no model run 9e3f331a" in found["model run"]["detail"]

    labelbox.revoke()
    found, answer = doctor(hub)
    assert (answer.exit_code, found["API key"]["ok"]) == (1, False)
    assert "does not accept LABELBOX_API_KEY" in found["API key"]["detail"]


def test_a_setting_that_is_misspelt_and_a_service_open_to_everybody_are_told(hub: Hub, doctor: Doctor) -> None:
    found, _ = doctor(hub, HOST="0.0.0.0", LABELLOOP_LABELBOX_API_KEY="hush", LABELBOX_SECRET="hush")

    assert "is not a setting; did you mean LABELBOX_API_KEY?" in found["LABELLOOP_LABELBOX_API_KEY"]["detail"]
    assert "did you mean LABELLOOP_LABELBOX_SECRET?" in found["LABELBOX_SECRET"]["detail"]
    assert "BASIC_AUTH_USER" in found["open to everybody"]["remedy"]
    assert "hush" not in str(found)


def test_an_ontology_that_no_type_can_learn_is_told(hub: Hub, doctor: Doctor, labelbox: LabelboxStandIn) -> None:
    found, _ = doctor(hub, "--model-run", model_run(labelbox, free_text("remarks")))
    assert not found["ontology"]["ok"]
    assert found["ontology"]["remedy"]

    run = model_run(labelbox, entity("person"), checklist("things", ("a", "b")))
    found, _ = doctor(hub, "--model-run", run)
    assert found["ontology"]["ok"]
    assert "ner (" in found["ontology"]["detail"]
    assert "text_multi_classification (" in found["ontology"]["detail"]


def test_vertex_ai_is_asked_and_what_it_refuses_is_told(hub: Hub, doctor: Doctor, tmp_path: Path) -> None:
    place = {"LABELLOOP_LABELBOX_VERTEX": f"{PROJECT}/{LOCATION}"}
    with google_stand_in(tmp_path / "google") as google:
        found, _ = doctor(hub, **google.environment, **place)
        assert (found["Vertex AI"]["ok"], found["Vertex AI"]["remedy"]) == (True, "")
        assert found["Vertex AI"]["detail"] == f"0 of vertex://{PROJECT}/{LOCATION} have a model"

        google.fail("GET endpoints", "PERMISSION_DENIED", "aiplatform.endpoints.list denied")
        found, answer = doctor(hub, **google.environment, **place)
    assert (answer.exit_code, found["Vertex AI"]["ok"]) == (1, False)
    assert found["Vertex AI"]["remedy"]
    assert found["menu"]["ok"]


@pytest.mark.parametrize("run", ["../x", "short", "a b c d e f g h"])
def test_what_is_no_id_of_a_model_run_is_refused(hub: Hub, doctor: Doctor, run: str) -> None:
    _, answer = doctor(hub, "--model-run", run)

    assert answer.exit_code == 2
    assert "is not an id of Labelbox" in answer.stderr


def reached(url: str, **given: object) -> list[Finding]:
    usual: dict[str, object] = {"labelbox_secret": VECTOR_SECRET}
    return list(check_reach(url, Settings(**{**usual, **given}), 6))  # type: ignore[arg-type]


def test_another_secret_and_a_service_that_is_not_there_are_told_apart(make_hub: MakeHub) -> None:
    with serving(client_of(make_hub(labelbox_secret="another")).application) as url:
        [found] = reached(f"{url}/labelbox")
        assert (found.ok, "refuses our signature" in found.detail) == (False, True)
        [found] = reached(f"{url}/labelbox", labelbox_secret="")
        assert (found.ok, found.detail.endswith("has a secret, and this shell has none")) == (False, True)
        assert "LABELLOOP_LABELBOX_SECRET" in found.remedy
    with serving(client_of(make_hub()).application) as url:
        [found] = reached(f"{url}/labelbox")
        assert (found.ok, "is not there" in found.detail) == (False, True)
    with serving(client_of(make_hub(labelbox_allow_unsigned=True)).application) as url:
        [found] = reached(f"{url}/labelbox")
        assert (found.ok, "answers unsigned requests, too" in found.detail) == (False, True)
        [found, *_] = reached(f"{url}/labelbox", labelbox_secret="", labelbox_allow_unsigned=True)
        assert found.ok


def test_a_web_process_with_other_settings_is_told(hub: Hub, served: str) -> None:
    [found, *_] = check_reach(f"{served}/labelbox", hub.settings, 9)

    assert found.ok
    assert found.remedy == "With the settings of this shell it would have 9: give both the same."


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (lambda: Response("<html>Sign in</html>"), "answers 200, and no menu"),
        (lambda: Response("[]"), "answers 200, and no menu"),
        (lambda: Response("{}", 500), "answers 500"),
        (
            lambda: redirect("https://elsewhere.example/models?token=hush"),
            "redirects to https://elsewhere.example/models",
        ),
    ],
)
def test_what_is_no_menu_is_told(given: Callable[[], Response], told: str) -> None:
    app = Flask("other")
    app.add_url_rule("/models", view_func=given)
    with serving(app) as url:
        [found] = reached(url)

    assert (found.ok, told in found.detail, bool(found.remedy)) == (False, True, True)
    assert "hush" not in str(found)


@pytest.mark.parametrize(("ahead", "ok"), [(0, True), (3600, False), (-3600, False)])
def test_clocks_that_differ_are_told(ahead: float, ok: bool) -> None:
    date = formatdate(time.time() + ahead, usegmt=True)
    with misbehaving(answer({}, 200, f"Date: {date}\r\n")) as server:
        found = reached(server.address, labelbox_secret="")

    assert [one.ok for one in found if one.name == "clock"] == [ok]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://a.example", "https://a.example/labelbox"),
        ("https://a.example/", "https://a.example/labelbox"),
        ("https://a.example/labelbox/", "https://a.example/labelbox"),
        ("https://a.example/labelbox/models", "https://a.example/labelbox"),
        ("https://a.example/models", "https://a.example/labelbox"),
        ("https://a.example/proxy/of/it", "https://a.example/proxy/of/it"),
    ],
)
def test_the_url_to_enter_is_the_base(url: str, base: str) -> None:
    assert base_url(url, "/labelbox") == base


@pytest.mark.parametrize(
    ("base", "remedy"),
    [
        ("https://a.example/labelbox", ""),
        ("http://a.example/labelbox", "https"),
        ("http://127.0.0.1:9090/labelbox", "public address"),
        ("https://10.0.0.7/labelbox", "public address"),
        ("https://web/labelbox", "public address"),
        ("https://web.internal/labelbox", "public address"),
        ("https://me:hush@a.example/labelbox?x=hush", ""),
    ],
)
def test_an_address_that_labelbox_cannot_reach_is_told(base: str, remedy: str) -> None:
    found = check_public(base)

    assert (remedy in found.remedy, bool(found.remedy)) == (True, bool(remedy))
    assert "hush" not in found.detail


def test_the_doctor_of_all_says_one_line_of_labelbox(make_hub: MakeHub, tmp_path: Path) -> None:
    def told(**given: object) -> Finding | None:
        hub = make_hub(trainer="command:true", label_studio_url="http://127.0.0.1:1", **given)
        with closing(hub.redis):
            return next((one for one in diagnose(hub, None) if one.name == "Labelbox"), None)

    assert told() is None
    fine = told(labelbox_secret=VECTOR_SECRET)
    assert fine is not None
    assert (fine.ok, fine.remedy, "`labelloop labelbox doctor`" in fine.detail) == (True, "", True)
    loud = told(labelbox_allow_unsigned=True)
    assert loud is not None
    assert "ANYBODY" in loud.detail
    assert loud.remedy
    closed = told(labelbox_api_key=KEY)
    assert closed is not None
    assert (closed.ok, "LABELLOOP_LABELBOX_SECRET is not set" in closed.detail) == (False, True)


def test_of_a_tool_that_is_not_set_up_the_doctor_of_all_says_one_neutral_line(make_hub: MakeHub) -> None:
    def told(project: int | None = None, **given: object) -> dict[str, Finding]:
        hub = make_hub(trainer="command:true", label_studio_url="http://127.0.0.1:1", **given)
        with closing(hub.redis):
            return {one.name: one for one in diagnose(hub, project)}

    alone = told(labelbox_secret=VECTOR_SECRET, labelbox_api_key=KEY, endpoint="http://127.0.0.1:1")
    assert (alone["Label Studio"].ok, alone["Label Studio"].remedy) == (True, "")
    assert "is not set up here" in alone["Label Studio"].detail
    assert not {"API key", "credentials"} & alone.keys()
    assert alone["endpoint"].ok
    # Whoever sets it up, or asks for one of its projects, is told what is wrong with it.
    both = told(labelbox_secret=VECTOR_SECRET, label_studio_api_key="a-key")
    assert not both["Label Studio"].ok
    assert not told(7, labelbox_secret=VECTOR_SECRET)["Label Studio"].ok
    assert not told(endpoint="http://127.0.0.1:1")["endpoint"].ok
