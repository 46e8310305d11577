"""Reading the tasks of a project page by page, by id: constant memory, and no page gets slower than the first.

The filters are the Data Manager's. Offsets are not used: they skip tasks when others are deleted meanwhile, and cost
more the deeper they go (contract, section 6).
"""

import json
from collections.abc import Iterator, Sequence

from labelloop.studio.api import Api
from labelloop.types import Json

PAGE = 500
"""Tasks of one request; 500 with their annotations take Label Studio 0.3 s."""

UNLABELED = {"filter": "filter:tasks:total_annotations", "operator": "equal", "type": "Number", "value": 0}
"""No submitted annotation. ``is_labeled`` would not do: it stays false until ``overlap`` annotators have submitted, and
with "ignore skipped" it turns true where one only skipped. Neither skips nor drafts are counted here."""

LABELED = {"filter": "filter:tasks:total_annotations", "operator": "greater", "type": "Number", "value": 0}
"""At least one submitted annotation."""

_OF_ANNOTATIONS = (
    "result",
    "was_cancelled",
    "ground_truth",
    "completed_by",
    "updated_at",
    "lead_time",
    "parent_prediction",
)
"""Label Studio applies ``include`` to the annotations inside a task too: what is not named they lack."""


def mentions(version: str) -> Json:
    """Match tasks with a prediction whose version contains this one: ``v1`` is in ``v10``; SQLite ignores case."""
    return {"filter": "filter:tasks:predictions_model_versions", "operator": "contains", "type": "List"} | {
        "value": [version]
    }


def lacks(version: str) -> Json:
    """Match tasks without any prediction whose version contains this one."""
    return mentions(version) | {"operator": "not_contains"}


def count_tasks(api: Api, project: int, filters: Sequence[Json]) -> int:
    """Count the tasks that match all filters."""
    query = {"filters": {"conjunction": "and", "items": list(filters)}}
    params = {"project": project, "query": json.dumps(query), "page": 1, "page_size": 1, "include": "id"}
    return int(api.get("api/tasks", params)["total"])


def read_tasks(
    api: Api,
    project: int,
    filters: Sequence[Json] = (),
    fields: Sequence[str] = ("id", "data"),
    after: int = 0,
    page: int = PAGE,
) -> Iterator[Json]:
    """Yield the tasks that match all filters, in order of id, beginning after task ``after``.

    ``fields`` are those of ``GET /api/tasks``; ``predictions`` among them come whole, ``annotations`` with what tells
    the truth and how it was found. Cloud addresses stay as they were imported. Tasks may be created and deleted
    meanwhile: none that stays is missed.
    """
    heavy = {"annotations", "predictions"} & set(fields)
    include = ("id", *fields, *(_OF_ANNOTATIONS if "annotations" in fields else ()))
    while True:
        beyond = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after}
        query = {"filters": {"conjunction": "and", "items": [beyond, *filters]}}
        params = {
            "project": project,
            "query": json.dumps(query),
            "page": 1,
            "page_size": page,
            "resolve_uri": "false",
            "include": ",".join(dict.fromkeys(include)),
        }
        answer = api.get("api/tasks", params | ({"fields": "all"} if heavy else {}))
        tasks: list[Json] = answer["tasks"]
        yield from tasks
        # Label Studio may be set to give shorter pages than asked for, so a short one is not yet the last.
        if not tasks or answer["total"] <= len(tasks):
            return
        after = tasks[-1]["id"]
