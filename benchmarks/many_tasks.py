"""``python -m benchmarks.many_tasks COUNT KIND``: a stand-in for Label Studio with so many labeled tasks.

It has one project, number 7, makes every page when it is asked for, and prints its address. KIND is ``numbers``, with
a number in each task's text, or ``pictures``, each of 64 x 64 pixels. Every thousandth number is the one before it
again. ``POST /flip`` turns the labels of a hundred tasks around, ``POST /change/N`` those of the first N, now. Any POST
says how many requests there were, and how many tasks were given.
"""

import io
import json
import random
import sys
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

CHANGED = 100

_NUMBERS = (
    '<View><Text name="number" value="$number"/><Choices name="label" toName="number">'
    '<Choice value="low"/><Choice value="high"/></Choices></View>'
)
_PICTURES = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    '<Choice value="low"/><Choice value="high"/></Choices></View>'
)
_TASK = (
    '{"id":%d,"data":%s,"annotations":[{"id":%d,"result":[{"from_name":"label","to_name":"%s","type":"choices",'
    '"value":{"choices":["%s"]}}],"was_cancelled":false,"ground_truth":false,"completed_by":1,'
    '"updated_at":"2026-11-01T12:00:00Z","lead_time":3.5,"parent_prediction":null}]}'
)


class Project:
    """The tasks, by arithmetic."""

    def __init__(self, count: int, pictures: bool) -> None:
        self.count, self.pictures, self.flipped = count, pictures, False
        self.changed, self.changed_at = 0, ""
        self.requests = self.rows = 0

    def change(self, count: int) -> None:
        """Turn the labels of the first tasks around."""
        self.changed, self.changed_at = count, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def info(self) -> dict[str, Any]:
        """Say what ``GET /api/projects/7`` does."""
        return {
            "id": 7,
            "created_at": "2026-11-01T12:00:00.000000Z",
            "title": "many",
            "label_config": _PICTURES if self.pictures else _NUMBERS,
            "model_version": "",
            "task_number": self.count,
            "num_tasks_with_annotations": self.count,
            "total_annotations_number": self.count,
            "skipped_annotations_number": 0,
        }

    def page(self, filters: list[dict[str, Any]], size: int, latest: bool = False) -> str:
        """Say what ``GET /api/tasks`` does: of all tasks, which have one annotation each, or of those that changed.

        The ``latest`` come last where nobody asks otherwise.
        """
        asked = {one["filter"].rpartition(":")[2]: one["value"] for one in filters}
        after, last = asked["id"], self.count
        if "total_annotations" in asked:
            last = after
        elif "updated_at" in asked:
            last = max(after, self.changed if self.changed_at > asked["updated_at"] else 0)
        begin = max(after, last - size) if latest else after
        tasks = [self._task(number) for number in range(begin + 1, min(begin + size, last) + 1)]
        self.rows += len(tasks)
        return '{"tasks":[%s],"total":%d}' % (",".join(tasks), last - after)  # noqa: UP031 - JSON is full of braces

    def _task(self, number: int) -> str:
        about, shown = "number", f'{{"number":"{number - 1 if number % 1_000 == 0 else number}"}}'
        if self.pictures:
            about, shown = "image", f'{{"image":"/data/upload/7/{number}.png"}}'
        is_changed = (self.flipped and number % (self.count // CHANGED) == 1) or number <= self.changed
        return _TASK % (number, shown, number, about, "high" if (number % 2 == 0) != is_changed else "low")


@cache
def _noise() -> bytes:
    return random.Random(0).randbytes(3 * 64 * 64)


def picture(number: int) -> bytes:
    """Draw a PNG that no other number has."""
    from PIL import Image

    image = Image.frombytes("RGB", (64, 64), _noise())
    image.putpixel((0, 0), (number >> 16 & 255, number >> 8 & 255, number & 255))
    content = io.BytesIO()
    image.save(content, "png", compress_level=1)
    return content.getvalue()


def handler(project: Project) -> type[BaseHTTPRequestHandler]:
    """Make what answers for a project."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_GET(self) -> None:
            project.requests += 1
            parts = urlsplit(self.path)
            match parts.path.strip("/").split("/"):
                case ["api", "projects", "7"]:
                    self._send(json.dumps(project.info()).encode())
                case ["api", "tasks"]:
                    query = parse_qs(parts.query)
                    asked = json.loads(query["query"][0])
                    latest = bool(asked.get("ordering"))
                    size = int(query["page_size"][0])
                    self._send(project.page(asked["filters"]["items"], size, latest).encode())
                case ["api", "ml"]:
                    self._send(b"[]")
                case ["data", "upload", "7", name]:
                    self._send(picture(int(name.partition(".")[0])))
                case _:
                    self._send(b'{"detail":"Not found."}', 404)

        def do_POST(self) -> None:
            what, _, count = self.path.strip("/").partition("/")
            project.flipped |= what == "flip"
            if what == "change":
                project.change(int(count))
            self._send(json.dumps({"requests": project.requests, "rows": project.rows}).encode())

        def _send(self, content: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Stay silent."""

    return Handler


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(Project(int(sys.argv[1]), sys.argv[2] == "pictures")))
    server.daemon_threads = True
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
