"""Lists: ``filter`` as Google's services read it (google.aip.dev/160, as far as Vertex AI has it), order, and pages."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from labelloop.types import Json
from support.google.names import only_query
from support.google.wire import Call, invalid, page

_TERM = re.compile(r'\s*(?P<field>[\w./-]+?)\s*(?P<operator>!=|=|:)\s*("(?P<quoted>[^"]*)"|(?P<bare>[^\s()"]+))\s*')


ORDERED = ("displayName", "createTime", "updateTime")


def listed(call: Call, found: Sequence[Json], key: str, fields: Sequence[str], order: Sequence[str] = ()) -> Json:
    """Answer a list, the newest first: of what a filter lets through, one page.

    ``fields`` may be filtered by; by those in ``order`` it may be sorted, and where there are none, not at all.
    """
    only_query(call, "filter", "pageSize", "pageToken", "readMask", *(["orderBy"] if order else []))
    holds = condition(call.query.get("filter", ""), fields)
    chosen = _in_order(call.query.get("orderBy", ""), [one for one in found if holds(one)], order)
    return page(call, [_read(one, call.query.get("readMask", "")) for one in chosen], key)


def condition(text: str, fields: Sequence[str]) -> Callable[[Json], bool]:
    """Read a filter of terms joined by AND; raises Refused."""
    terms = [_term(part, fields) for part in re.split(r"\s+AND\s+", text) if text.strip()]
    return lambda one: all(term(one) for term in terms)


def _term(text: str, fields: Sequence[str]) -> Callable[[Json], bool]:
    found = _TERM.fullmatch(text)
    field = found["field"] if found else ""
    root = _camel(field.partition(".")[0])
    if found is None or root not in fields:
        raise invalid(f"Invalid filter: {text!r}.")
    wanted = found["bare"] if found["quoted"] is None else found["quoted"]
    if root == "labels":
        label = field.partition(".")[2]
        return _label(label, found["operator"], wanted)
    if found["operator"] == ":":
        raise invalid(f"Invalid filter: {text!r}: {root} has no operator ':'.")
    same = found["operator"] == "="
    return lambda one: (_value(one, root) == wanted) == same


def _label(label: str, operator: str, wanted: str) -> Callable[[Json], bool]:
    if operator == ":":
        if not label:
            return lambda one: wanted in one.get("labels", {})
        return lambda one: label in one.get("labels", {}) and wanted in ("*", one["labels"][label])
    if not label:
        raise invalid("Invalid filter: labels is compared by its keys, labels.KEY=VALUE.")
    return lambda one: (one.get("labels", {}).get(label) == wanted) == (operator == "=")


def _value(one: Json, field: str) -> Any:
    """Ids stand in filters for names, as ``model=ID`` or ``endpoint=ID`` does."""
    if field in ("endpoint", "model"):
        return str(one["name"]).rpartition("/")[2]
    return one.get(field, "")


def _in_order(text: str, found: list[Json], order: Sequence[str]) -> list[Json]:
    """Sort as asked for, the newest first where nothing is asked."""
    chosen = found[::-1]
    for part in reversed([one.strip() for one in text.split(",") if one.strip()]):
        name, _, way = part.partition(" ")
        key = _camel(name)
        if key not in order or way not in ("", "asc", "desc"):
            raise invalid(f"Invalid order_by: {text!r}.")
        chosen.sort(key=lambda one: str(one.get(key, "")), reverse=way == "desc")
    return chosen


def _read(one: Json, mask: str) -> Json:
    names = [_camel(name.strip()) for name in mask.split(",") if name.strip()]
    return {name: one[name] for name in names if name in one} if names and "*" not in names else one


def _camel(name: str) -> str:
    """Write a field's name as JSON has it."""
    return re.sub(r"_(\w)", lambda part: part[1].upper(), name)
