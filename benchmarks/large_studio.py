"""``python -m benchmarks.large_studio FOLDER``: the tests' stand-in for Label Studio, with very many tasks.

``FOLDER/tasks.jsonl`` has them, a line each, and ``FOLDER/config.xml`` the label config; pictures lie beside them. It
finds a page of tasks without looking at all of them, sends a webhook for each annotation that is submitted, as Label
Studio does, and prints its address.
"""

import itertools
import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.studio_api import Answer, StudioApi, running_studio

_WEBHOOK_SECONDS = 1.0


class LargeStudio(StudioApi):
    """One project, number 7, whose tasks are numbered from 1 on without a gap."""

    def __init__(self, folder: Path) -> None:
        super().__init__(config=(folder / "config.xml").read_text(), created_at="2026-11-01T12:00:00.000000Z")
        self.pictures = _Pictures(folder)
        self._made = _Made()
        self._numbered = itertools.count(1)
        now = self.moment()
        with (folder / "tasks.jsonl").open() as lines:
            for number, line in enumerate(lines, 1):
                task = json.loads(line)
                for one in task["annotations"]:
                    one |= {"id": 1000 * number, "was_cancelled": False, "parent_prediction": None}
                    one |= {"created_at": now, "updated_at": now, "completed_by": 1}
                self.tasks[number] = {"id": number, "created_at": now, "updated_at": now, **task}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Answer:
        """Choose status and JSON."""
        parts = path.strip("/").split("/")[1:]
        if method == "POST" and parts[0] == "tasks" and parts[2:] == ["annotations"]:
            return self._submit(int(parts[1]), body)
        return super().answer(method, path, query, body)

    def _submit(self, number: int, body: dict[str, Any]) -> Answer:
        task, now = self.tasks[number], self.moment()
        made = {**body, "id": 1000 * number + len(task["annotations"]), "was_cancelled": False, "completed_by": 1}
        task["annotations"].append(made | {"created_at": now, "updated_at": now})
        task["updated_at"] = now
        told = {"action": "ANNOTATION_CREATED", "project": {"id": self.number}, "task": {"id": number}}
        for hook in self.webhooks:
            content = json.dumps(told | {"annotation": {"id": made["id"], "task": number}}).encode()
            headers = {"Content-Type": "application/json", **(hook.get("headers") or {})}
            request = urllib.request.Request(hook["url"], content, headers)
            urllib.request.urlopen(request, timeout=_WEBHOOK_SECONDS).close()
        return 201, made

    def _import(self, items: list[dict[str, Any]]) -> Answer:
        # As its parent does, but numbered without a look at all that there are.
        made = [{"id": next(self._numbered)} | item for item in items]
        self.predictions += made
        for one in made:
            self._made.setdefault(one["task"], []).append(one)
        return 201, {"created": len(made)}

    def _page(self, query: dict[str, Any], size: int) -> dict[str, Any]:
        items = query["filters"]["items"]
        enough = any if query["filters"]["conjunction"] == "or" else all
        found: list[dict[str, Any]] = []
        numbers = self._numbers(items)
        for number in numbers:
            if enough(self._matches(self.tasks[number], self._made, item) for item in items):
                found.append(self.tasks[number])
                # Who asks for a single task wants to know how many there are.
                if len(found) == size > 1:
                    break
        for task in found[:size]:
            task["predictions"] = self._made[task["id"]]
        return {"tasks": found[:size], "total": len(found) if size == 1 else max(len(found), len(numbers))}

    def _numbers(self, items: list[dict[str, Any]]) -> Sequence[int]:
        """Say which tasks may match."""
        beyond = [
            item["value"] for item in items if item["filter"] == "filter:tasks:id" and item["operator"] == "greater"
        ]
        within = [item["value"] for item in items if item["filter"] == "filter:tasks:id" and item["operator"] == "in"]
        if within and len(within) == len(items):
            return sorted(
                {number for one in within for number in range(one["min"], one["max"] + 1)} & self.tasks.keys()
            )
        return range(max(beyond, default=0) + 1, len(self.tasks) + 1)


class _Made(dict[int, list[dict[str, Any]]]):
    def __missing__(self, number: int) -> list[dict[str, Any]]:
        return []


class _Pictures(dict[str, bytes]):
    """Pictures by their path, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def get(self, path: str, usual: Any = None) -> Any:
        """Read one."""
        try:
            return (self._folder / "pictures" / path.rpartition("/")[2]).read_bytes()
        except OSError:
            return usual


def main() -> None:
    with running_studio(LargeStudio(Path(sys.argv[1]))) as studio:
        print(studio.url, flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
