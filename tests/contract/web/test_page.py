"""The page that takes a picture, as the backend and as a pinned inference server serve it."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from labelloop.occlusion import CELLS
from labelloop.serve.answering import Admission, PixelBudget
from labelloop.serve.engines.base import open_engine
from labelloop.serve.pinned import PinnedCatalog
from labelloop.serve.references import References
from labelloop.serve.server import inference_app
from labelloop.settings import Settings
from labelloop.web.access import Logins, WebGate
from support.bundles import make_bundle, picture
from support.region_bundles import make_box_bundle, make_span_bundle
from support.web import MakeHub, announce, client_of


def app_of(tmp_path: Path, admission: Admission) -> Flask:
    make_bundle(tmp_path / "bundle")
    catalog = PinnedCatalog("v3", lambda: open_engine(tmp_path / "bundle", "onnx"))
    catalog.start()
    assert catalog.settled.wait(30)
    return inference_app(catalog, admission, References(Settings()), body_max_bytes=30_000_000)


@pytest.fixture
def pinned(tmp_path: Path) -> FlaskClient:
    return app_of(tmp_path, Admission(4, 4)).test_client()


class _Sources(HTMLParser):
    """Collects what a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("link", "iframe", "base")
        self.found += [str(value) for name, value in attrs if name in ("src", "href", "action", "onclick", "style")]


def test_the_page_needs_nothing_from_elsewhere_and_runs_its_own_script_alone(pinned: FlaskClient) -> None:
    answer = pinned.get("/try")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    sources = _Sources()
    sources.feed(answer.text)
    assert sources.found == []
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for kind in ("script", "style"):
        content = answer.text.split(f"<{kind}>")[1].split(f"</{kind}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"


def test_a_pinned_server_answers_and_explains(pinned: FlaskClient) -> None:
    answer = pinned.post("/try?explain=1", data=picture("red"), content_type="image/jpeg").get_json()
    assert answer["version"] == "v3"
    assert answer["found"][0]["label"] == "red"
    assert [one["score"] for one in answer["found"]] == sorted((one["score"] for one in answer["found"]), reverse=True)
    assert [len(line) for line in answer["drops"]] == [CELLS] * CELLS
    assert pinned.post("/try", data=picture("red")).get_json()["drops"] == []


def page_of(bundle: Path) -> FlaskClient:
    catalog = PinnedCatalog("v3", lambda: open_engine(bundle, "onnx"))
    catalog.start()
    assert catalog.settled.wait(30)
    return inference_app(catalog, Admission(4, 4), References(Settings()), body_max_bytes=30_000_000).test_client()


def test_a_text_is_answered_with_its_spans(tmp_path: Path) -> None:
    client = page_of(make_span_bundle(tmp_path / "bundle"))
    text = "\N{GRINNING FACE} Ada Lovelace met us in Oslo."
    answer = client.post("/try?explain=1", data=text.encode(), content_type="text/plain; charset=utf-8").get_json()
    assert {one["label"]: text[slice(*one["span"])] for one in answer["found"]} == {
        "PER": "Ada Lovelace",
        "LOC": "Oslo",
    }
    assert answer["drops"] == []
    assert client.post("/try", data=b"\xff", content_type="text/plain").status_code == 400


def test_boxes_are_where_they_were_found(tmp_path: Path) -> None:
    client = page_of(make_box_bundle(tmp_path / "bundle"))
    (found,) = client.post("/try", data=picture("red")).get_json()["found"]
    assert len(found["box"]) == 4


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"no picture"])
@pytest.mark.parametrize("query", ["", "?explain=1"])
def test_what_is_no_picture_is_told(pinned: FlaskClient, content: bytes, query: str) -> None:
    answer = pinned.post("/try" + query, data=content)
    assert answer.status_code == 400
    assert re.search("picture", answer.get_json()["error"])


@pytest.mark.parametrize("query", ["", "?explain=1"])
def test_a_full_house_turns_the_page_away_too(tmp_path: Path, query: str) -> None:
    admission = Admission(working=1, present=1)
    client = app_of(tmp_path, admission).test_client()
    with admission.present():
        answer = client.post("/try" + query, data=picture("red"))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert client.get("/try").status_code == 200
    assert client.post("/try" + query, data=picture("red")).status_code == 200


def test_a_picture_waits_for_room_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    admission = Admission(working=4, present=4)
    monkeypatch.setattr(admission, "_pixels", PixelBudget(10_000, seconds=0))
    client = app_of(tmp_path, admission).test_client()
    with admission.at_work(10_000):
        assert client.post("/try?explain=1", data=picture("red")).status_code == 503
    assert client.post("/try?explain=1", data=picture("red", (200, 100))).status_code == 200, "alone it may be larger"


def test_the_page_holds_up_nothing_else_of_the_backend() -> None:
    gate = WebGate(Settings(), Logins.of(Settings()))
    assert gate.way({"PATH_INFO": "/try"}).pool not in {
        gate.way({"PATH_INFO": path}).pool for path in ("/predict", "/setup", "/webhook", "/status", "/metrics")
    }


def test_the_backend_asks_the_endpoint_of_the_project(make_hub: MakeHub) -> None:
    hub = make_hub()
    client = client_of(hub)
    shown = client.get("/try")
    assert 'data-projects="yes"' in shown.text
    announce(hub, 7)
    answer = client.post("/try?project=7&explain=1", data=picture("red")).get_json()
    assert {one["label"] for one in answer["found"]} == {"cat", "dog"}
    assert len(answer["drops"]) == CELLS


def test_the_backend_says_what_is_missing(make_hub: MakeHub, tmp_path: Path) -> None:
    client = client_of(make_hub(endpoint="http://127.0.0.1:1", store=(tmp_path / "store").as_uri()))
    assert client.post("/try", data=picture("red")).status_code == 400
    missing = client.post("/try?project=8", data=picture("red"))
    assert (missing.status_code, "no version yet" in missing.get_json()["error"]) == (404, True)


def test_the_backend_says_that_its_endpoint_is_down(make_hub: MakeHub, tmp_path: Path) -> None:
    hub = make_hub(endpoint="http://127.0.0.1:1", store=(tmp_path / "store").as_uri())
    announce(hub, 7)
    answer = client_of(hub).post("/try?project=7", data=picture("red"))
    assert (answer.status_code, "127.0.0.1:1" in answer.get_json()["error"]) == (503, True)


def test_the_page_asks_for_the_password_that_the_backend_has(make_hub: MakeHub) -> None:
    client = client_of(make_hub(basic_auth_user="ls", basic_auth_pass="hush"))
    assert client.get("/try").status_code == 401
    assert client.post("/try?project=7", data=picture("red")).status_code == 401
    assert client.get("/try", auth=("ls", "hush")).status_code == 200
