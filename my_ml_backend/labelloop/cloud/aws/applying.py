"""Bringing a pipeline's definition to SageMaker, and beginning an execution by its parameters."""

import difflib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from labelloop.cloud.aws.account import Account, asking
from labelloop.cloud.aws.checks import require_valid, require_values
from labelloop.cloud.aws.executions import Pipeline
from labelloop.cloud.aws.pipeline import definition, to_text
from labelloop.cloud.aws.pipeline_plan import PipelinePlan
from labelloop.errors import CloudMissing, SettingsError
from labelloop.types import Json

CREATED = "created"
"""The one change of a pipeline that was not there."""

_MOST_TOLD = 20


def apply(account: Account, plan: PipelinePlan) -> list[str]:
    """Create the pipeline, or update it where it differs; says what changed, nothing where it is so already.

    Raises CloudError, also for a definition that is wrong: that one is not sent.
    """
    wanted = definition(plan)
    require_valid(wanted)
    request = {"PipelineName": plan.name, "PipelineDefinition": to_text(wanted), "RoleArn": plan.role}
    client = account.client("sagemaker")
    try:
        found = Pipeline(account, plan.name).describe()
    except CloudMissing:
        with asking(f"pipeline {plan.name} to be created in {account.region}"):
            client.create_pipeline(**request)
        return [CREATED]
    changes = list(_changes(_readable(found["PipelineDefinition"]), wanted, ""))
    if found.get("RoleArn") != plan.role:
        changes.append(f"role: {found.get('RoleArn')} -> {plan.role}")
    if changes:
        with asking(f"pipeline {plan.name} to be updated in {account.region}"):
            client.update_pipeline(**request)
    more = len(changes) - _MOST_TOLD
    return changes[:_MOST_TOLD] + ([f"and {more} more"] if more > 0 else [])


def checked_parameters(pipeline: Pipeline, given: Mapping[str, str]) -> dict[str, str]:
    """Give the values of an execution's parameters as they are sent; raises CloudError or SettingsError for wrong ones.

    The steps' arguments are looked at with these values in them.
    """
    found = _readable(pipeline.describe()["PipelineDefinition"])
    known = {one["Name"]: one for one in found.get("Parameters", [])}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise SettingsError(
                f"pipeline {pipeline.name} has no parameter {name!r}{hint}; it has {', '.join(sorted(known))}"
            )
    lacking = sorted(name for name, one in known.items() if not (given.get(name) or "DefaultValue" in one))
    if lacking:
        raise SettingsError(f"pipeline {pipeline.name} has no default for {lacking[0]}: --parameter {lacking[0]}=VALUE")
    values = [
        {**one, "DefaultValue": _typed(one, given[name]) if name in given else one["DefaultValue"]}
        for name, one in known.items()
    ]
    require_values({**found, "Parameters": values})
    return dict(given)


def _typed(parameter: Json, text: str) -> Any:
    """Read a parameter's value as SageMaker will; raises SettingsError."""
    kind = str(parameter.get("Type"))
    try:
        return _TYPES.get(kind, str)(text)
    except (ValueError, KeyError) as error:
        raise SettingsError(f"parameter {parameter['Name']} is {text[:80]!r}, which is no {kind}") from error


_TYPES: dict[str, Callable[[str], Any]] = {
    "Integer": int,
    "Float": float,
    "Boolean": lambda text: {"true": True, "false": False}[text.lower()],
}


def _readable(text: str) -> Json:
    try:
        found: Json = json.loads(text)
        return found if isinstance(found, dict) else {}
    except ValueError:
        # Whatever it is, it is replaced.
        return {}


def _changes(before: Any, after: Any, place: str) -> Iterator[str]:
    """Say where two definitions differ; parameters, steps and others with a name are compared by it."""
    old, new = _by_name(before), _by_name(after)
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield f"{place}: {_short(old)} -> {_short(new)}"
        return
    for name in [*new, *(one for one in old if one not in new)]:
        inside = f"{place}.{name}".lstrip(".")
        if name not in old:
            yield f"{inside}: new"
        elif name not in new:
            yield f"{inside}: gone"
        else:
            yield from _changes(old[name], new[name], inside)


def _by_name(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(one, dict) and "Name" in one for one in value):
        return {one["Name"]: one for one in value}
    return value


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
