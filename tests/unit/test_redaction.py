"""What answers over HTTP show of this machine's folders."""

from pathlib import Path

import pytest
from flask import Flask

from labelloop.front.redaction import hide_folders, redact, redact_all


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("/etc/labelloop/model.onnx cannot be read", "model.onnx cannot be read"),
        ("file:///tmp/store/ls/7/champion.json is damaged.", "champion.json is damaged."),
        ("cannot open '/usr/lib/x.so': no such file", "cannot open 'x.so': no such file"),
        ("GET /api/projects/7 answered 404", "GET /api/projects/7 answered 404"),
        ("http://host/etc/a.png could not be read", "http://host/etc/a.png could not be read"),
        ("s3://bucket/tmp/a is away", "s3://bucket/tmp/a is away"),
        ("/data/upload/7/a.png could not be read", "/data/upload/7/a.png could not be read"),
        ("3/4 of the pictures, 10 km/h", "3/4 of the pictures, 10 km/h"),
    ],
)
def test_paths_of_this_machine_are_cut_to_their_last_name(told: str, shown: str) -> None:
    assert redact(told) == shown
    assert redact_all({"a": [told, 1, None]}) == {"a": [shown, 1, None]}


def test_folders_with_blanks_are_known_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "my models"
    app = Flask("x")
    hide_folders(app, [folder])
    with app.app_context():
        assert redact(f"{folder}/v1/model.onnx is cut short") == "model.onnx is cut short"
