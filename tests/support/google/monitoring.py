"""Cloud Monitoring, version v3: descriptors of metrics, and points of time series, with what may be written when."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labelloop.types import Json
from support.google.front import Route
from support.google.names import only_query
from support.google.operations import Operations
from support.google.wire import Call, Refused, invalid, missing, page, without_nothing

_MOST_SERIES = 200
_APART = 5.0
"""Seconds between two points of a series."""
_BACK, _AHEAD = 25 * 3600.0, 300.0
"""Seconds: how old a point may be, and how far in the future."""
_MOST_LABELS = 30

_RESOURCES = {
    "global": {"project_id"},
    "generic_node": {"project_id", "location", "namespace", "node_id"},
    "generic_task": {"project_id", "location", "namespace", "job", "task_id"},
}
"""Monitored resources that one's own metrics are written for, and their labels."""

_VALUES = {"boolValue": "BOOL", "int64Value": "INT64", "doubleValue": "DOUBLE", "stringValue": "STRING"}

Key = tuple[str, tuple[tuple[str, str], ...], str, tuple[tuple[str, str], ...]]


@dataclass
class Monitoring:
    """All metrics and series of all projects; ``clock`` gives Unix seconds."""

    operations: Operations
    clock: Callable[[], float] = time.time
    descriptors: dict[tuple[str, str], Json] = field(default_factory=dict)
    series: dict[tuple[str, Key], list[Json]] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """Give what is answered here."""
        say = "monitoring:"
        return [
            Route(f"{say}POST timeSeries", "timeSeries.create", self._write, "CreateTimeSeriesRequest"),
            Route(f"{say}GET timeSeries", "timeSeries.list", self._read, query=None),
            Route(f"{say}POST metricDescriptors", "metricDescriptors.create", self._describe, "MetricDescriptor"),
            Route(f"{say}GET metricDescriptors", "metricDescriptors.list", self._list, query=None),
            Route(f"{say}GET metricDescriptors/*", "metricDescriptors.get", self._get),
            Route(f"{say}DELETE metricDescriptors/*", "metricDescriptors.delete", self._delete),
        ]

    def forget(self) -> None:
        """Forget everything."""
        self.descriptors.clear()
        self.series.clear()
        self.clock = time.time

    def points(self, metric: str, **labels: str) -> list[float]:
        """Give the values that were written of a metric, with these labels among others, in order of time."""
        found = [
            point
            for (_, key), points in self.series.items()
            if key[0] == metric and {*labels.items()} <= {*key[1]}
            for point in points
        ]
        found.sort(key=lambda point: _seconds(point["interval"]["endTime"]))
        return [float(next(iter(point["value"].values()))) for point in found]

    # What Cloud Monitoring answers.
    def _write(self, call: Call) -> Json:
        """Write one point of each series; those that cannot be are told, and the others are written all the same."""
        told = call.body["timeSeries"]
        if len(told) > _MOST_SERIES:
            raise invalid(f"Field timeSeries had {len(told)} elements, and may have {_MOST_SERIES}.")
        refused: list[tuple[int, Refused]] = []
        with self.operations.lock:
            seen = set[Key]()
            for number, one in enumerate(told):
                try:
                    self._write_one(call.project, one, seen)
                except Refused as error:
                    refused.append((number, error))
        if refused:
            raise _partly(len(told), refused)
        return {}

    def _write_one(self, project: str, told: Json, seen: set[Key]) -> None:
        metric = told["metric"]["type"]
        if not re.fullmatch(r"(custom|workload|external)\.googleapis\.com/[A-Za-z0-9_./-]{1,250}", metric):
            raise invalid(f"The metric type {metric!r} is none that may be written: custom.googleapis.com/NAME is.")
        if len(told["points"]) != 1:
            raise invalid(f"Field points must contain exactly one point, and contains {len(told['points'])}.")
        key = _key(project, told)
        if key in seen:
            raise invalid("Duplicate TimeSeries encountered. Only one point can be written per TimeSeries per request.")
        seen.add(key)
        point = told["points"][0]
        self._check_time(project, metric, key, point["interval"], told.get("metricKind", "GAUGE"))
        self._check_kind(project, metric, told, point)
        self.series.setdefault((project, key), []).append(point)

    def _check_time(self, project: str, metric: str, key: Key, interval: Json, kind: str) -> None:
        end = _seconds(interval["endTime"])
        if kind == "GAUGE" and interval.get("startTime", interval["endTime"]) != interval["endTime"]:
            raise invalid("The start time of a point of a GAUGE metric must equal its end time.")
        away = self.clock() - end
        if away > _BACK or away < -_AHEAD:
            raise invalid(
                f"Points cannot be written more than 25h in the past or 5m in the future: {interval['endTime']}."
            )
        before = self.series.get((project, key), [])
        youngest = _seconds(before[-1]["interval"]["endTime"]) if before else None
        if youngest is None:
            return
        if end <= youngest:
            raise invalid(
                "Points must be written in order. One or more of the points specified had an older end time than the "
                "most recent point."
            )
        if end - youngest < _APART:
            raise invalid(
                "One or more points were written more frequently than the maximum sampling period configured for the "
                f"metric. {{Metric: {metric}}}"
            )

    def _check_kind(self, project: str, metric: str, told: Json, point: Json) -> None:
        """Look whether the value is of the metric's type; a metric that was never described is so now."""
        values = [name for name in point["value"] if name in _VALUES]
        if len(values) != 1:
            raise invalid("A point has exactly one value.")
        kind, given = told.get("metricKind", "GAUGE"), _VALUES[values[0]]
        if told.get("valueType", given) != given:
            raise invalid(f"Value type for metric {metric} is {told['valueType']}, and the point's is {given}.")
        there = self.descriptors.get((project, metric))
        labels = told["metric"].get("labels", {})
        if there is None:
            if kind not in ("GAUGE", "CUMULATIVE"):
                raise invalid(f"A metric that is described by its first point is GAUGE or CUMULATIVE, not {kind}.")
            there = {"type": metric, "metricKind": kind, "valueType": given, "labels": []}
            self.descriptors[project, metric] = _named(project, there)
        if (there["metricKind"], there["valueType"]) != (kind, given):
            raise invalid(
                f"Value type for metric {metric} conflicts with the existing value type ({there['valueType']}), or its "
                f"kind with {there['metricKind']}."
            )
        _add_labels(self.descriptors[project, metric], list(labels))

    def _read(self, call: Call) -> Json:
        only_query(call, "filter", "interval.startTime", "interval.endTime", "view", "pageSize", "pageToken", "orderBy")
        wanted = re.fullmatch(r'\s*metric\.type\s*=\s*"([^"]+)"\s*', call.query.get("filter", ""))
        if wanted is None or "interval.endTime" not in call.query:
            raise invalid('The stand-in reads filter=metric.type="..." of an interval with its end.')
        start, end = (call.query.get(f"interval.{side}Time", "") for side in ("start", "end"))
        least, most = _seconds(start or end), _seconds(end)
        found = []
        for (project, key), points in self.series.items():
            inside = [one for one in reversed(points) if least <= _seconds(one["interval"]["endTime"]) <= most]
            if project == call.project and key[0] == wanted[1] and inside:
                there = self.descriptors[project, key[0]]
                metric = without_nothing({"type": key[0], "labels": dict(key[1])}.items())
                about = {"metric": metric, "resource": {"type": key[2], "labels": dict(key[3])}}
                kinds = {"metricKind": there["metricKind"], "valueType": there["valueType"]}
                found.append({**about, **kinds, "points": inside})
        return page(call, found, "timeSeries", 100_000, 100_000)

    def _describe(self, call: Call) -> Json:
        told = dict(call.body)
        there = self.descriptors.get((call.project, told["type"]))
        if there and (there["metricKind"], there["valueType"]) != (told["metricKind"], told["valueType"]):
            raise invalid(f"The metric {told['type']} is described already, with another kind or type.")
        self.descriptors[call.project, told["type"]] = _named(call.project, {"labels": [], **told})
        return self.descriptors[call.project, told["type"]]

    def _list(self, call: Call) -> Json:
        only_query(call, "filter", "pageSize", "pageToken", "activeOnly")
        wanted = re.fullmatch(r'\s*metric\.type\s*=\s*(starts_with\()?"([^"]*)"\)?\s*', call.query.get("filter", ""))
        if wanted is None and call.query.get("filter"):
            raise invalid(f"Invalid filter: {call.query['filter']!r}.")
        found = [told for (project, _), told in self.descriptors.items() if project == call.project]
        if wanted:
            found = [
                one for one in found if one["type"] == wanted[2] or (wanted[1] and one["type"].startswith(wanted[2]))
            ]
        return page(call, found, "metricDescriptors", 10_000, 10_000)

    def _get(self, call: Call) -> Json:
        return self.descriptors[self._named(call)]

    def _delete(self, call: Call) -> Json:
        key = self._named(call)
        del self.descriptors[key]
        for one in [one for one in self.series if one[0] == key[0] and one[1][0] == key[1]]:
            del self.series[one]
        return {}

    def _named(self, call: Call) -> tuple[str, str]:
        key = call.project, call.rest.partition("/")[2]
        if key not in self.descriptors:
            raise missing("Metric", call.resource)
        return key


def _key(project: str, told: Json) -> Key:
    """Say which series it is; raises Refused for a resource that is none, or lacks a label."""
    resource = told.get("resource") or {"type": "global", "labels": {"project_id": project}}
    labels = {"project_id": project, **resource.get("labels", {})}
    wanted = _RESOURCES.get(resource["type"])
    if wanted is None:
        raise invalid(f"The resource type {resource['type']!r} is none that one's own metrics are written for.")
    if {*labels} != wanted:
        raise invalid(
            f"Labels of the resource {resource['type']} are {sorted(wanted)}, and these are {sorted(labels)}."
        )
    metric = told["metric"]
    return metric["type"], _pairs(metric.get("labels", {})), resource["type"], _pairs(labels)


def _pairs(labels: Json) -> tuple[tuple[str, str], ...]:
    for key, value in labels.items():
        if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]{0,99}", key) or len(str(value)) > 1024:
            raise invalid(f"Invalid label {key!r}.")
    return tuple(sorted(labels.items()))


def _named(project: str, told: Json) -> Json:
    return {"name": f"projects/{project}/metricDescriptors/{told['type']}", **told}


def _add_labels(descriptor: Json, names: Sequence[str]) -> None:
    there = [one["key"] for one in descriptor["labels"]]
    descriptor["labels"] = [*descriptor["labels"], *({"key": name} for name in names if name not in there)]
    if len(descriptor["labels"]) > _MOST_LABELS:
        raise invalid(f"A metric may have at most {_MOST_LABELS} labels.")


def _partly(count: int, refused: Sequence[tuple[int, Refused]]) -> Refused:
    """Say which series could not be written, and how many were."""
    said = "; ".join(f"{error.message}: timeSeries[{number}]" for number, error in refused)
    counted = count - len(refused)
    summary: dict[str, Any] = {
        "@type": "type.googleapis.com/google.monitoring.v3.CreateTimeSeriesSummary",
        "totalPointCount": count,
        **({"successPointCount": counted} if counted else {}),
        "errors": [{"status": {"code": 3}, "pointCount": len(refused)}],
    }
    return Refused("INVALID_ARGUMENT", f"One or more TimeSeries could not be written: {said}", summary)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
