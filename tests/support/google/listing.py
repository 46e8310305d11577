"""Lists: ``filter`` as Google's services read it (google.aip.dev/160, as far as Vertex AI has it), order, and pages."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from labelloop.types import Json
from support.google.names import only_query
from support.google.wire import Call, invalid, page

_TERM = re.compile(r'\s*(?P<field>[\w./-]+?)\s*(?P<operator>!=|=|:)\s*("(?P<quoted>[^"]*)"|(?P<bare>[^\s()"]+))\s*')


def listed(call: Call, found: Sequence[Json], key: str, fields: Sequence[str], most: int = 100) -> Json:
    """Answer a list, the newest first: of what a filter lets through, one page. ``fields`` may be filtered by."""
    only_query(call, "filter", "orderBy", "pageSize", "pageToken", "readMask")
    holds = condition(call.query.get("filter", ""), fields)
    chosen = _in_order(call.query.get("orderBy", ""), [one for one in found if holds(one)])
    return page(call, [_read(one, call.query.get("readMask", "")) for one in chosen], key, most)


def condition(text: str, fields: Sequence[str]) -> Callable[[Json], bool]:
    """Read a filter of terms joined by AND; raises Refused."""
    terms = [_term(part, fields) for part in re.split(r"\s+AND\s+", text) if text.strip()]
    return lambda one: all(term(one) for term in terms)


def _term(text: str, fields: Sequence[str]) -> Callable[[Json], bool]:
    found = _TERM.fullmatch(text)
    field = found["field"] if found else ""
    root = re.sub(r"_(\w)", lambda part: part[1].upper(), field.partition(".")[0])
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


def _in_order(order: str, found: list[Json]) -> list[Json]:
    """Sort as asked for, the newest first where nothing is asked."""
    if not order:
        return found[::-1]
    told = re.fullmatch(r"(create_time|update_time|display_name|version_id)( (?:asc|desc))?", order.strip())
    if told is None:
        raise invalid(f"Invalid order_by: {order!r}.")
    key = re.sub(r"_(\w)", lambda part: part[1].upper(), told[1])
    return sorted(found, key=lambda one: str(one.get(key, "")), reverse=told[2] == " desc")


def _read(one: Json, mask: str) -> Json:
    names = [re.sub(r"_(\w)", lambda part: part[1].upper(), name.strip()) for name in mask.split(",") if name.strip()]
    return {name: one[name] for name in names if name in one} if names and "*" not in names else one
