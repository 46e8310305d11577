"""Endpoints that people have: ``labelloop probe`` reads every public container right, without a mapping."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from labelloop.cli.endpoints import Question, probe_lines
from labelloop.endpoints.answers.read import ANSWER_FORMATS
from labelloop.endpoints.caller import open_endpoint
from labelloop.endpoints.probe import probe_endpoint
from labelloop.endpoints.requests.registry import REQUEST_FORMATS
from labelloop.loop.process import open_hub
from labelloop.loop.project_options import options_of
from labelloop.settings import Settings
from labelloop.types import Failure, Target
from support.containers import CONTAINERS
from support.containers.base import Container
from support.containers.tensors import TENSORS
from support.misbehaving import misbehaving

PAGE = (Path(__file__).parents[2] / "docs/formats.md").read_text()


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda one: one.name)
def test_a_container_is_read_right(container: Container) -> None:
    assert "mapping" not in container.options
    with misbehaving(container.reply) as server:
        settings = Settings(endpoint=f"{server.address}{container.path}", endpoint_headers=container.headers)
        spec = options_of(settings, None, dict(container.options)).endpoint
        answer = probe_endpoint(spec, container.sent, Target()).answer
    assert not isinstance(answer, Failure), answer
    assert answer == replace(container.expected, model_version=answer.model_version)


@pytest.mark.parametrize("container", TENSORS, ids=lambda one: one.name)
def test_a_server_of_tensors_takes_several_inputs_in_one_call(container: Container) -> None:
    with misbehaving(container.reply) as server:
        settings = Settings(endpoint=f"{server.address}{container.path}", endpoint_batch=3)
        spec = options_of(settings, None, dict(container.options)).endpoint
        answers = open_endpoint(spec).invoke([container.sent] * 3, Target())
    assert len(server.requests) == 1
    for answer in answers:
        assert not isinstance(answer, Failure), answer
        assert answer == replace(container.expected, model_version=answer.model_version)


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda one: one.name)
def test_probing_a_container_ends_in_a_prediction(container: Container, tmp_path: Path) -> None:
    file = None
    if container.sent.content:
        file = tmp_path / f"sent.{container.sent.media_type.rpartition('/')[2]}"
        file.write_bytes(container.sent.content)
    with misbehaving(container.reply) as server:
        hub = open_hub(Settings(endpoint=f"{server.address}{container.path}", endpoint_headers=container.headers))
        asked = Question(file, container.sent.text, None, container.options, container.label_config, None)
        lines, well = probe_lines(hub, asked)
    assert well, lines[-1]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda one: one.name)
def test_a_container_has_its_row_in_the_docs(container: Container) -> None:
    assert re.search(rf"^\| {re.escape(container.name)} \|", PAGE, re.MULTILINE)


def test_every_format_says_who_speaks_it() -> None:
    assert all(form.read_by for form in REQUEST_FORMATS.values())
    assert all(form.made_by for form in ANSWER_FORMATS)
