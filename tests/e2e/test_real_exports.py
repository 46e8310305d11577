"""What a real Label Studio exports of its own templates, in all formats it offers, beside the files of tests/real."""

import csv
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import requests

from labelloop.demo.label_studio import LabelStudio
from labelloop.studio.client import Studio
from support.real_files import ROOT, check, count, expected, put_pictures

pytestmark = [pytest.mark.studio, pytest.mark.slow]

PROJECTS = sorted(file.parent for file in (ROOT / "label_studio").glob("*/annotated.json"))

SUFFIXES = {"JSON": ".json", "JSON_MIN": ".json", "CSV": ".csv", "TSV": ".tsv", "CONLL2003": ".conll"}
"""Formats of one file; the others are folders."""

VARIES = {
    *("id", "inner_id", "task", "project", "annotation_id", "unique_id", "annotator", "completed_by", "updated_by"),
    *("created_at", "updated_at", "date_created", "year", "color"),
}
"""What is another with each server, each day or each time."""


@pytest.fixture(scope="module")
def templates(label_studio: LabelStudio) -> dict[str, str]:
    """The label configs of the server's own gallery, by their titles."""
    found = label_studio.request("GET", "/api/templates/")["templates"]
    return {template["title"]: template["config"] for template in found}


@pytest.mark.parametrize("folder", PROJECTS, ids=[folder.name for folder in PROJECTS])
def test_exports_have_the_shapes_and_the_counts_of_the_files(
    folder: Path, label_studio: LabelStudio, studio: Studio, templates: dict[str, str], tmp_path: Path
) -> None:
    annotated = json.loads((folder / "annotated.json").read_text())
    project = label_studio.create_project(folder.name, config(templates[annotated["template"]], annotated))
    label_studio.import_tasks(project, annotated["tasks"])
    unread = json.loads((folder / "expected.json").read_text())["unread"]
    rows = expected(folder)
    formats = label_studio.request("GET", f"/api/projects/{project}/export/formats")
    offered = [one["name"] for one in formats if not one.get("disabled")]
    assert sorted(offered) == sorted([*unread, *(name.partition(".")[0] for name in rows)])
    for name in rows:
        export(studio, label_studio.url, project, tmp_path / name)
        assert shape(tmp_path / name) == shape(folder / name), name
    for name, row in rows.items():
        put_pictures(tmp_path / name.partition("/")[0], row)
        check(tmp_path / name, row)
        if row.get("holds") and row["labels"]:
            assert count(tmp_path / name) == (row["items"], row["labels"])


def config(template: str, annotated: dict[str, Any]) -> str:
    """Give a template, with attributes that an annotator would set in the project's settings."""
    for tag, attributes in annotated.get("with_attributes", {}).items():
        written = "".join(f' {name}="{value}"' for name, value in attributes.items())
        template = template.replace(f"<{tag} ", f"<{tag}{written} ")
    return template


def export(studio: Studio, url: str, project: int, target: Path) -> None:
    """Export in the format that a file or folder is named by."""
    query = {"exportType": target.name.partition(".")[0]}
    address = f"{url}/api/projects/{project}/export"
    answer = requests.get(address, query, headers=studio.api.auth_headers(), timeout=60)
    answer.raise_for_status()
    if target.suffix:
        target.write_bytes(answer.content)
    else:
        zipfile.ZipFile(io.BytesIO(answer.content)).extractall(target)


def shape(path: Path) -> object:
    """Give a file's content, or those of a folder by their names, without what varies."""
    if path.is_dir():
        files = [one for one in sorted(path.rglob("*")) if one.is_file()]
        return {str(one.relative_to(path)): shape(one) for one in files}
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return without(json.loads(text))
    if path.suffix in {".csv", ".tsv"}:
        rows = list(csv.DictReader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ","))
        return [{name: "" if name in VARIES else cell for name, cell in row.items()} for row in rows]
    return re.sub(r"<annotator>\d+</annotator>", "", text)


def without(value: Any) -> Any:
    """Empty what varies of a JSON value, keys and their order kept."""
    if isinstance(value, list):
        return [without(one) for one in value]
    if isinstance(value, dict):
        return {
            key: "" if key in VARIES and not isinstance(one, dict | list) else without(one)
            for key, one in value.items()
        }
    return value
