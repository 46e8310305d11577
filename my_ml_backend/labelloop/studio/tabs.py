"""Tabs of a project's Data Manager: named views of some of its tasks (``/api/dm/views``, Label Studio 1.23.2)."""

from collections.abc import Sequence

from labelloop.errors import StudioError
from labelloop.studio.api import Api
from labelloop.types import Json

_VIEWS = "api/dm/views/"


def put_tab(api: Api, project: int, title: str, tasks: Sequence[int]) -> str:
    """Make a tab that shows exactly these tasks, or have the tab of that title show them; gives its address.

    What people chose for the tab (columns, order, grid) stays. Raises StudioError, NotAllowed.
    """
    for view in api.get(_VIEWS, {"project": project}) or []:
        data = view.get("data") or {}
        if data.get("title") == title:
            api.patch(f"{_VIEWS}{view['id']}/", {"project": project, "data": data | _data(title, tasks)})
            return _address(api, project, view)
    view = api.post(_VIEWS, {"project": project, "data": _data(title, tasks) | {"type": "list", "target": "tasks"}})
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
