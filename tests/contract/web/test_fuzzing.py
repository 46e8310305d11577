"""What nobody would send, to a real web process: no 5xx, nothing but what docs/openapi.yaml says, no word too many.

`make fuzz` tries many times as much, and says how much that was.
"""

import json
import os
import random
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
import schemathesis
import schemathesis.specs.openapi.checks as conformance
from hypothesis import HealthCheck, given, settings

from labelloop.children import start_child, stop_child
from labelloop.environment import environment_of
from labelloop.labelbox.signing import SHA256, VECTOR_SECRET, signature
from labelloop.loop.process import open_hub
from labelloop.loop.redis_server import RedisServer
from labelloop.settings import Settings
from labelloop.web.machine import gunicorn_command
from support.captured import FOLDER, captured
from support.examples import examples
from support.openapi import description, operations
from support.servers import free_port
from support.waiting import wait_until
from support.web import announce

pytestmark = [pytest.mark.slow, pytest.mark.process]

SECRET = "a-secret-of-webhooks"
PASSWORD = "a-password-of-basic"
CHECKS = [
    schemathesis.checks.not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_schema_conformance,
]
LEAKS = re.compile(rf"Traceback|File \"|{SECRET}|{PASSWORD}|{VECTOR_SECRET}|/my_ml_backend/|site-packages")
REQUESTS = [captured(path.relative_to(FOLDER).as_posix()) for path in sorted(FOLDER.glob("requests/*.json"))]
KINDS = {"as described": schemathesis.GenerationMode.POSITIVE, "otherwise": schemathesis.GenerationMode.NEGATIVE}
OPERATIONS = sorted(
    (*one, kind)
    for one, said in operations().items()
    for kind in KINDS
    # Where nothing is to be sent there is nothing that could be sent otherwise.
    if kind == "as described" or {"requestBody", "parameters"} & set(said)
)


@dataclass
class Web:
    """A web process, and how often it answered what."""

    url: str
    answered: Counter[int] = field(default_factory=Counter)
    session: requests.Session = field(default_factory=requests.Session)

    def send(self, request: requests.Request, *, login: bool) -> requests.Response:
        """Send a request, with all that it may need to be let in, or none of it."""
        prepared = self.session.prepare_request(request)
        if login:
            body = prepared.body or b""
            body = body.encode() if isinstance(body, str) else bytes(body)
            prepared.headers["Authorization"] = "Basic " + b64encode(f"label:{PASSWORD}".encode()).decode()
            prepared.headers["X-LabelLoop-Secret"] = SECRET
            prepared.headers[SHA256] = signature(VECTOR_SECRET, body, SHA256)
            prepared.headers.pop("X-Hub-Signature", None)
        answer = self.session.send(prepared, timeout=30)
        self.answered[answer.status_code] += 1
        assert not LEAKS.search(answer.text), answer.text[:500]
        return answer


@pytest.fixture(scope="module")
def web(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One of them with all its secrets, a project that has a version, and a Redis; it lives to the end."""
    folder = tmp_path_factory.mktemp("fuzzed")
    own = Settings(
        host="127.0.0.1",
        port=free_port(),
        model_dir=str(folder),
        redis_url=redis_server.url,
        endpoint="fake://?classes=cat,dog",
        basic_auth_user="label",
        basic_auth_pass=PASSWORD,
        webhook_secret=SECRET,
        labelbox_secret=VECTOR_SECRET,
        failed_logins=0,
        log_level="WARNING",
    )
    hub = open_hub(own)
    hub.redis.flushall()
    announce(hub, 7)
    hub.redis.close()
    log, found = folder / "web.log", Web(f"http://127.0.0.1:{own.port}")
    process = start_child(gunicorn_command(own), log=log, environment=os.environ | environment_of(own))
    try:
        wait_until(lambda: is_up(found.url), log.read_text)
        yield found
        assert process.poll() is None
    finally:
        stop_child(process, 10)
    print(f"{sum(found.answered.values())} answers by status: {dict(sorted(found.answered.items()))}")  # noqa: T201
    assert "Traceback" not in log.read_text()


def is_up(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=1).ok
    except requests.RequestException:
        return False


def asked(case: Any, url: str) -> requests.Request:
    """Write a case as a request."""
    sent = case.as_transport_kwargs(base_url=url)
    names = ("method", "url", "headers", "files", "data", "json", "params", "cookies")
    return requests.Request(**{name: sent[name] for name in names if name in sent})


@pytest.mark.parametrize("login", [True, False], ids=["let in", "a stranger"])
@pytest.mark.parametrize(("method", "path", "kind"), OPERATIONS)
def test_whatever_is_asked_is_answered_as_described(web: Web, method: str, path: str, kind: str, login: bool) -> None:
    schema = schemathesis.openapi.from_dict(description())
    operation = schema[path][method]

    @settings(
        max_examples=examples(6),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=KINDS[kind]))
    def ask(case: Any) -> None:
        answer = web.send(asked(case, web.url), login=login)
        case.validate_response(answer, checks=CHECKS)
        if not login and operations()[method, path]["security"]:
            assert answer.status_code in (400, 401, 404, 405, 413) or path == "/webhook"

    ask()


def bent(random: random.Random, value: Any, depth: int = 0) -> Any:
    """Change a value of JSON here and there."""
    die = random.random()
    if die < 0.06 or depth > 30:
        return random.choice(
            [
                None,
                True,
                -1,
                0,
                2**63,
                1e308,
                "",
                "\u0000",
                "\ud800",
                "٣",
                "7.0",
                "../../etc/passwd",
                [],
                {},
                "A" * 5000,
            ]
        )
    if isinstance(value, dict):
        found = {name: bent(random, one, depth + 1) for name, one in value.items() if random.random() > 0.03}
        return found | ({"__proto__": value, "": found} if die > 0.97 else {})
    if isinstance(value, list):
        return [bent(random, one, depth + 1) for one in value] * (50 if die > 0.98 else 1)
    return value


def broken(random: random.Random, content: bytes) -> bytes:
    """Cut, repeat or overwrite bytes."""
    place, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return random.choice(
        [
            content[:place],
            content[place:],
            content[:place] + random.randbytes(8) + content[end:],
            content[:place] + content[place:end] * 3 + content[end:],
            b"[" * 2000 + content,
            content.replace(b'"', b"'", 3),
            content.decode().encode("utf-16"),
        ]
    )


@pytest.mark.parametrize("recorded", REQUESTS, ids=lambda one: f"{one['method']} {one['path']}")
def test_traffic_of_label_studio_that_was_tampered_with_is_answered(web: Web, recorded: dict[str, Any]) -> None:
    dice = random.Random(json.dumps(recorded))
    url, content = f"{web.url}{recorded['path']}", json.dumps(recorded.get("body") or {}).encode()
    for _ in range(examples(20)):
        body = json.dumps(bent(dice, json.loads(content))).encode()
        body = broken(dice, body) if dice.random() < 0.3 else body
        headers = {"Content-Type": dice.choice(["application/json", "text/plain", "multipart/form-data", ""])}
        method = dice.choice([recorded["method"]] * 9 + ["PUT"])
        request = requests.Request(method, url, headers=headers, data=body if method != "GET" else None)
        answer = web.send(request, login=dice.random() < 0.9)
        assert answer.status_code < 500, (body[:2000], answer.text)
        assert answer.headers["Content-Type"] == "application/json"
