"""From a task to what an endpoint is given: the bytes, the text, or the address of what the annotator sees."""

import mimetypes
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from labelloop.errors import MediaError
from labelloop.loop.plan import Plan
from labelloop.studio.object_tag import shown_instead, value_of
from labelloop.studio.urls import shown
from labelloop.types import Input, Json, TaskKey

_READERS = 8
"""Files of one call that are read at a time."""

_REFERABLE = ("s3://", "gs://", "http://", "https://")


@dataclass(frozen=True, slots=True)
class Unpredicted:
    """A task without a prediction, and why; ``endpoint`` says that the endpoint as a whole is at fault."""

    reason: str
    endpoint: bool = False


def resolve_all(plan: Plan, tasks: Sequence[Json], deadline: float | None) -> list[Input | Unpredicted]:
    """Resolve tasks, in order, several at a time; ``deadline`` is a ``time.monotonic()`` moment."""
    if len(tasks) <= 1:
        return [_resolve(plan, task, deadline) for task in tasks]
    with ThreadPoolExecutor(min(_READERS, len(tasks)), thread_name_prefix="read") as readers:
        return list(readers.map(lambda task: _resolve(plan, task, deadline), tasks))


def _resolve(plan: Plan, task: Json, deadline: float | None) -> Input | Unpredicted:
    value = value_of(plan.config.data_key, task)
    if value is None:
        return Unpredicted(
            f"task {task.get('id')} has no {plan.config.data_key!r} in its data, which the label config shows"
        )
    if plan.config.inline:
        return Input(text=value, prompt=plan.prompt)
    try:
        return _read(plan, value, task.get("id"), deadline)
    except MediaError as error:
        return Unpredicted(str(error))


def _read(plan: Plan, value: str, task_id: object, deadline: float | None) -> Input | Unpredicted:
    media_type, tag = _media_type(value), plan.config.object_tag
    if plan.options.endpoint.request == "reference" and _is_referable(plan, value):
        return Input(uri=value, media_type=media_type, prompt=plan.prompt)
    task = TaskKey(plan.project.id, task_id if isinstance(task_id, int) else None)
    content = plan.hub.media.read(value, task, deadline)
    other = shown_instead(tag, content)
    if other is not None:
        return Unpredicted(f"{shown(value)} is {other}, which is nothing that <{tag}> shows: it was sent nowhere")
    if tag in ("Text", "HyperText"):
        return _text(plan, content, task_id)
    return Input(content, media_type, prompt=plan.prompt)


def _media_type(url: str) -> str:
    """Guess by the ending; an address may be any text."""
    suffix = PurePosixPath(url.partition("?")[0]).suffix
    return mimetypes.types_map.get(suffix.lower(), "application/octet-stream")


def _text(plan: Plan, content: bytes, task_id: object) -> Input | Unpredicted:
    try:
        return Input(text=content.decode(), prompt=plan.prompt)
    except UnicodeDecodeError:
        return Unpredicted(f"the text of task {task_id} is not UTF-8")


def _is_referable(plan: Plan, url: str) -> bool:
    """Whether another machine can read an address by itself: not Label Studio's own files, nor one with a password."""
    host = url.partition("://")[2].partition("/")[0]
    return url.startswith(_REFERABLE) and "@" not in host and not plan.hub.media.is_home(url)
