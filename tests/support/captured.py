"""Requests captured from a real Label Studio 1.23.2 (tokens redacted, else as sent)."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "fixtures" / "label_studio"


def captured(path: str) -> Any:
    """Read one captured file, for example ``requests/predict.json``: method, path, headers and body of a request."""
    return json.loads((FOLDER / path).read_text())


def captured_webhooks() -> dict[str, Any]:
    """Read the bodies of all captured webhooks, by the file's path."""
    paths = sorted(
        path.relative_to(FOLDER).as_posix() for path in FOLDER.glob("*/*.json") if path.parent.name != "export"
    )
    bodies = {path: captured(path)["body"] for path in paths}
    return {path: body for path, body in bodies.items() if isinstance(body, dict) and "action" in body}
