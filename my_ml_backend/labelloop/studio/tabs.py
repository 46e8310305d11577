"""Tabs of a project's Data Manager: named views of some of its tasks (``/api/dm/views``, Label Studio 1.23.2)."""

from collections.abc import Sequence

from labelloop.errors import StudioError
from labelloop.studio.api import Api
from labelloop.types import Json

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
"""The columns that it shows."""


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
    return {"title": title, "filters": {"conjunction": "or", "items": [_within(*run) for run in _runs(tasks)]}}


def _runs(tasks: Sequence[int]) -> list[tuple[int, int]]:
    """Join ids that follow each other; an id that no task has stands for no task at all."""
    runs: list[tuple[int, int]] = []
    for task in sorted(set(tasks)) or [0]:
        if runs and task == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], task)
        else:
            runs.append((task, task))
    return runs


def _within(first: int, last: int) -> Json:
    column = {"filter": "filter:tasks:id", "type": "Number"}
    if first == last:
        return column | {"operator": "equal", "value": first}
    return column | {"operator": "in", "value": {"min": first, "max": last}}


def _address(api: Api, project: int, view: object) -> str:
    try:
        return f"{api.url}/projects/{project}/data?tab={int(view['id'])}"  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        raise StudioError(f"Label Studio's answer names no tab of project {project}") from None
