"""Label Studio's Data Manager: the tasks of a project by filters, page by page, and tabs that show some of them.

Pages go on by id, in constant memory, and none gets slower than the first. Offsets are not used: they skip tasks when
others are deleted meanwhile, and cost more the deeper they go (contract, "Task lists").
"""

import json
from collections.abc import Iterator, Sequence

from labelloop.errors import StudioError
from labelloop.studio.api import Api
from labelloop.types import Json, chunks

PAGE = 500
"""Tasks of one request; 500 with their annotations take Label Studio 0.3 s."""

UNLABELED = {"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0}
"""No submitted annotation that is counted. ``is_labeled`` would not do: it stays false until ``overlap`` annotators
have submitted, and with "ignore skipped" it turns true where one only skipped. Neither skips nor drafts count here."""

ANNOTATED = {"filter": "filter:tasks:annotations_ids", "operator": "greater", "type": "Number", "value": 0}
"""At least one annotation, be it a skip. ``total_annotations`` would not do: what is submitted while predictions are
imported may stay uncounted (contract, "Imports"). A page of either takes Label Studio as long."""

_OF_ANNOTATIONS = (
    "result",
    "was_cancelled",
    "ground_truth",
    "completed_by",
    "updated_at",
    "lead_time",
    "parent_prediction",
    "model_version",
)
"""Label Studio applies ``include`` to the annotations inside a task too: what is not named they lack."""

_NAMED = 50
"""Tasks that one request names: the query stands in its address."""

MOST_IN_TAB = 500
"""Tasks of a tab that people choose: each is a filter of its own to Label Studio, and two queries on its database."""

_VIEWS = "api/dm/views/"
REVIEW = "To review"
_REVIEWED = (
    "tasks:id",
    "tasks:data",
    "tasks:data.image",
    "tasks:predictions_score",
    "tasks:predictions_model_versions",
    "tasks:predictions_results",
)
"""The columns that the tab "To review" shows."""


def mentions(*versions: str) -> Json:
    """Match tasks with a prediction whose version contains any of these: ``v1`` is in ``v10``; SQLite ignores case."""
    return {"filter": "filter:tasks:predictions_model_versions", "operator": "contains", "type": "List"} | {
        "value": [*versions]
    }


def lacks(version: str) -> Json:
    """Match tasks without any prediction whose version contains this one."""
    return mentions(version) | {"operator": "not_contains"}


def changed_since(moment: str) -> Json:
    """Match tasks that changed since a moment, such as ``2026-11-29T12:00:00.000000Z``.

    A task changes with its annotations and with a prediction that comes by itself, and not with predictions that are
    imported (contract, "Task lists").
    """
    return {"filter": "filter:tasks:updated_at", "operator": "greater", "type": "Datetime", "value": moment}


def made_by(moment: str) -> Json:
    """Match tasks that were there by a moment."""
    return {"filter": "filter:tasks:created_at", "operator": "less", "type": "Datetime", "value": moment}


def count_tasks(api: Api, project: int, filters: Sequence[Json]) -> int:
    """Count the tasks that match all filters."""
    query = {"filters": {"conjunction": "and", "items": list(filters)}}
    params = {"project": project, "query": json.dumps(query), "page": 1, "page_size": 1, "include": "id"}
    return int(api.get("api/tasks/", params)["total"])


def count_newer(api: Api, project: int, after: int) -> tuple[int, int]:
    """Count the tasks that came after task ``after``, and give the last of them: ``after`` where there is none."""
    beyond = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after}
    query = {"filters": {"conjunction": "and", "items": [beyond]}, "ordering": ["-tasks:id"]}
    params = {"project": project, "query": json.dumps(query), "page": 1, "page_size": 1, "include": "id"}
    answer = api.get("api/tasks/", params)
    return int(answer["total"]), max((int(task["id"]) for task in answer["tasks"]), default=after)


def read_tasks(
    api: Api,
    project: int,
    filters: Sequence[Json] = (),
    fields: Sequence[str] = ("id", "data"),
    after: int = 0,
    page: int = PAGE,
    of_annotations: Sequence[str] = _OF_ANNOTATIONS,
) -> Iterator[Json]:
    """Yield the tasks that match all filters, in order of id, beginning after task ``after``.

    ``fields`` are those of ``GET /api/tasks``; ``predictions`` among them come whole, ``annotations`` with what tells
    the truth and how it was found, or with the fields that ``of_annotations`` names. Cloud addresses stay as they were
    imported. Tasks may be created and deleted meanwhile: none that stays is missed.
    """
    asking = {"page": 1, "page_size": page, "resolve_uri": "false"} | _asking(fields, of_annotations)
    while True:
        beyond = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after}
        query = {"filters": {"conjunction": "and", "items": [beyond, *filters]}}
        answer = api.get("api/tasks/", {"project": project, "query": json.dumps(query)} | asking)
        tasks: list[Json] = answer["tasks"]
        yield from tasks
        # Label Studio may be set to give shorter pages than asked for, so a short one is not yet the last.
        if not tasks or answer["total"] <= len(tasks):
            return
        after = tasks[-1]["id"]


def read_these(api: Api, project: int, tasks: Sequence[int], fields: Sequence[str] = ("id", "data")) -> Iterator[Json]:
    """Yield these tasks, a few in one request; those that are there no more are left out; see ``read_tasks``."""
    for some in chunks(sorted(set(tasks)), _NAMED):
        query = {"filters": {"conjunction": "or", "items": [within(*run) for run in _runs(some)]}}
        params = {"project": project, "query": json.dumps(query), "page": 1, "page_size": _NAMED}
        yield from api.get("api/tasks/", params | {"resolve_uri": "false"} | _asking(fields))["tasks"]


def _asking(fields: Sequence[str], of_annotations: Sequence[str] = _OF_ANNOTATIONS) -> Json:
    """Ask for fields of tasks; Label Studio gives annotations and predictions whole where it is told to give all."""
    heavy = {"annotations", "predictions"} & set(fields)
    include = ("id", *fields, *(of_annotations if "annotations" in fields else ()))
    return {"include": ",".join(dict.fromkeys(include))} | ({"fields": "all"} if heavy else {})


def put_tab(api: Api, project: int, title: str, tasks: Sequence[int]) -> str:
    """Make a tab that shows exactly these tasks, or have the tab of that title show them; gives its address.

    What people chose for the tab (columns, order, grid) stays. Raises StudioError, NotAllowed.
    """
    return _put(api, project, _data(title, tasks))


def put_review_tab(api: Api, project: int) -> str:
    """Make the tab "To review", or make it anew: unlabeled tasks with score and version, the least certain first.

    Gives its address. Raises StudioError, NotAllowed.
    """
    columns = api.get("api/dm/columns", {"project": project}) or {}
    names = [f"tasks:{column['id']}" for column in columns.get("columns", []) if column.get("target") == "tasks"]
    none = {"operator": "equal", "type": "Number", "value": 0}
    untouched = [none | {"filter": f"filter:tasks:{what}"} for what in ("total_annotations", "cancelled_annotations")]
    return _put(
        api,
        project,
        {
            "title": REVIEW,
            "filters": {"conjunction": "and", "items": untouched},
            "ordering": ["tasks:predictions_score"],
            "hiddenColumns": {"explore": [name for name in names if name not in _REVIEWED], "labeling": []},
        },
    )


def _put(api: Api, project: int, data: Json) -> str:
    for view in api.get(_VIEWS, {"project": project}) or []:
        before = view.get("data") or {}
        if before.get("title") == data["title"]:
            api.patch(f"{_VIEWS}{view['id']}/", {"project": project, "data": before | data})
            return _address(api, project, view)
    view = api.post(_VIEWS, {"project": project, "data": data | {"type": "list", "target": "tasks"}})
    return _address(api, project, view)


def _data(title: str, tasks: Sequence[int]) -> Json:
    """Filter by ranges of ids, any of which may hold.

    The server knows a filter by a list of ids too, but the Data Manager's page breaks at it.
    """
    return {"title": title, "filters": {"conjunction": "or", "items": [within(*run) for run in _runs(tasks)]}}


def _runs(tasks: Sequence[int]) -> list[tuple[int, int]]:
    """Join ids that follow each other; an id that no task has stands for no task at all."""
    runs: list[tuple[int, int]] = []
    for task in sorted(set(tasks)) or [0]:
        if runs and task == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], task)
        else:
            runs.append((task, task))
    return runs


def within(first: int, last: int) -> Json:
    """Match tasks by their ids, both ends included."""
    column = {"filter": "filter:tasks:id", "type": "Number"}
    if first == last:
        return column | {"operator": "equal", "value": first}
    return column | {"operator": "in", "value": {"min": first, "max": last}}


def _address(api: Api, project: int, view: object) -> str:
    try:
        return f"{api.url}/projects/{project}/data?tab={int(view['id'])}"  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        raise StudioError(f"Label Studio's answer names no tab of project {project}") from None
