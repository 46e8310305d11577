"""What is wrong with a pipeline's definition, said before it is sent: SageMaker says it later, or not at all.

Each step's arguments are held against botocore's own description of the request that SageMaker makes of them.
"""

import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from typing import Any

from labelloop.cloud.aws.pipeline import VERSION
from labelloop.errors import CloudError
from labelloop.types import Json

MOST_PARAMETERS, MOST_CHARACTERS = 200, 1024
"""Parameters of one pipeline, and characters of one value (service limits of SageMaker)."""

_STEP_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

# What SageMaker calls with a step's arguments, what tells of it afterwards, and the name it makes up itself.
_REQUESTS = {
    "Processing": ("CreateProcessingJob", "DescribeProcessingJob", {"ProcessingJobName": "x"}),
    "Training": ("CreateTrainingJob", "DescribeTrainingJob", {"TrainingJobName": "x"}),
    "RegisterModel": ("CreateModelPackage", "DescribeModelPackage", {}),
    "Model": ("CreateModel", "DescribeModel", {"ModelName": "x"}),
    "Transform": ("CreateTransformJob", "DescribeTransformJob", {"TransformJobName": "x"}),
}
_OTHERS = (
    "Condition", "Fail", "AutoML", "Callback", "ClarifyCheck", "Compilation", "EMR", "Endpoint", "EndpointConfig",
    "Lambda", "NotebookJob", "QualityCheck", "Tuning",
)  # fmt: skip

_EXECUTION = (
    "PipelineExecutionId",
    "PipelineExecutionArn",
    "PipelineName",
    "PipelineArn",
    "StartDateTime",
    "CurrentDateTime",
)
_FUNCTIONS = ("Get", "Std:Join", "Std:JsonGet")


def require_valid(definition: Json) -> list[str]:
    """Give warnings, such as an instance type that botocore does not know.

    Raises CloudError naming the step and the field of the first mistake.
    """
    warnings = []
    for problem in _problems(definition):
        if not problem.startswith(_WARNING):
            raise CloudError(f"the pipeline's definition is wrong, and was not sent: {problem}")
        warnings.append(problem.removeprefix(_WARNING))
    return warnings


def require_values(definition: Json) -> None:
    """Look at the parameters' values alone, in a definition that SageMaker has taken, whoever made it.

    Raises CloudError naming the step and the field of the first one that cannot be.
    """
    parameters, steps = definition.get("Parameters", []), list(_all_steps(definition.get("Steps", [])))
    problems = (*_in_parameters(parameters), *(wrong for step in steps for wrong in _in_values(step, parameters)))
    for problem in problems:
        if not problem.startswith(_WARNING):
            raise CloudError(f"the execution would fail, and was not started: {problem}")


_WARNING = "warning: "


def _problems(definition: Json) -> Iterator[str]:
    if definition.get("Version") != VERSION:
        yield f"Version is {definition.get('Version')!r}, and must be {VERSION!r}"
    parameters = definition.get("Parameters", [])
    yield from _in_parameters(parameters)
    steps = list(_all_steps(definition.get("Steps", [])))
    yield from _in_names(steps)
    known = {one["Name"]: one for one in steps}
    for step in steps:
        yield from _in_values(step, parameters)
        for place, path in _gets(_own(step)):
            if wrong := _wrong_reference(path, step, {one["Name"] for one in parameters}, known):
                yield f"step {step['Name']}, {place}: {wrong}"
        for name in step.get("DependsOn", []):
            if name not in known:
                yield f"step {step['Name']}, DependsOn: there is no step {name}"
    yield from _in_order(steps)


def _in_values(step: Json, parameters: list[Json]) -> Iterator[str]:
    defaults = {f"Parameters.{one['Name']}": one["DefaultValue"] for one in parameters if "DefaultValue" in one}
    yield from _in_arguments({**step, "Arguments": _with_defaults(step.get("Arguments", {}), defaults)})


def _in_parameters(parameters: list[Json]) -> Iterator[str]:
    if len(parameters) > MOST_PARAMETERS:
        yield f"it has {len(parameters)} parameters, and SageMaker takes {MOST_PARAMETERS}"
    names = [one["Name"] for one in parameters]
    yield from (f"parameter {name} is there twice" for name in sorted({one for one in names if names.count(one) > 1}))
    for one in parameters:
        if len(str(one.get("DefaultValue", ""))) > MOST_CHARACTERS:
            yield f"parameter {one['Name']}, DefaultValue: it is longer than {MOST_CHARACTERS} characters"


def _in_names(steps: list[Json]) -> Iterator[str]:
    names = [str(one["Name"]) for one in steps]
    for name in sorted(set(names)):
        if names.count(name) > 1:
            yield f"step {name}: its name is there twice"
        if not _STEP_NAME.fullmatch(name):
            yield f"step {name[:80]}: a name is 1 to 64 letters, digits, hyphens and underscores"


def _all_steps(steps: list[Json]) -> Iterator[Json]:
    """Give the steps with those inside conditions."""
    for step in steps:
        yield step
        yield from _all_steps([*_inner(step)])


def _inner(step: Json) -> Iterator[Json]:
    for branch in ("IfSteps", "ElseSteps"):
        yield from step.get("Arguments", {}).get(branch, [])


def _own(step: Json) -> Any:
    """Give what a step says itself: the steps in its branches speak for themselves."""
    arguments = {name: held for name, held in step.get("Arguments", {}).items() if name not in ("IfSteps", "ElseSteps")}
    return {**step, "Arguments": arguments}


def _gets(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Find all references, each with the field that it stands in."""
    if isinstance(value, dict):
        if "Get" in value:
            yield place, str(value["Get"])
        for name, held in value.items():
            yield from _gets(held, place if name in (*_FUNCTIONS, "Values") else f"{place}.{name}".lstrip("."))
    elif isinstance(value, list):
        for held in value:
            yield from _gets(held, place)


def _wrong_reference(path: str, step: Json, parameters: set[str], steps: dict[str, Json]) -> str:
    """Say what is wrong with a reference; empty where nothing is."""
    where, _, rest = path.partition(".")
    name, _, within = rest.partition(".")
    if where == "Parameters":
        return "" if rest in parameters else f"there is no parameter {rest}"
    if where == "Execution":
        return "" if rest in _EXECUTION else f"an execution has no {rest}"
    if where != "Steps" or name not in steps:
        return f"there is nothing called {path}"
    if name == step["Name"]:
        return f"{path} is of the step itself"
    if within.startswith("PropertyFiles."):
        files = [one["PropertyFileName"] for one in steps[name].get("PropertyFiles", [])]
        return "" if within.partition(".")[2] in files else f"there is no property file {path}"
    return _wrong_property(steps[name], within)


def _wrong_property(step: Json, within: str) -> str:
    """Hold a property against what SageMaker tells of such a step."""
    if step["Type"] not in _REQUESTS:
        return f"step {step['Name']} is a {step['Type']} and has no properties"
    shape = _shapes(_REQUESTS[step["Type"]][1]).output_shape
    for name in re.sub(r"\[[^]]*\]", "", within).split("."):
        shape = shape.member if shape.type_name == "list" else shape
        if name not in getattr(shape, "members", {}):
            return f"step {step['Name']} has no {within}"
        shape = shape.members[name]
    return ""


def _in_order(steps: list[Json]) -> Iterator[str]:
    """Find a circle of steps that wait for each other."""
    waits: dict[str, set[str]] = {}
    for step in steps:
        found = {path.split(".")[1] for _, path in _gets(_own(step)) if path.startswith("Steps.")}
        waits.setdefault(step["Name"], set()).update(found, step.get("DependsOn", []))
        for inner in _inner(step):
            waits.setdefault(inner["Name"], set()).add(step["Name"])
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        yield f"steps wait for each other: {' > '.join(reversed(error.args[1]))}"


def _in_arguments(step: Json) -> Iterator[str]:
    """Hold a step's arguments against the request that SageMaker makes of them."""
    kind = step.get("Type")
    if kind not in _REQUESTS:
        if kind not in _OTHERS:
            yield f"step {step['Name']}, Type: there is no {kind!r}; there are {', '.join((*_REQUESTS, *_OTHERS))}"
        return
    from botocore.validate import ParamValidator

    request, _, named = _REQUESTS[kind]
    shape = _shapes(request).input_shape
    arguments = {**_resolved(step.get("Arguments", {}), shape), **named}
    report = ParamValidator().validate(arguments, shape)
    if report.has_errors():
        yield f"step {step['Name']}, {' '.join(report.generate_report().split())}"
    for field, told in _limits(step.get("Arguments", {}), shape, ""):
        # AWS has new instance types before botocore knows of them.
        warns = _WARNING if field.endswith("InstanceType") else ""
        yield f"{warns}step {step['Name']}, {field}: it {told}"


@cache
def _shapes(operation: str) -> Any:
    from botocore.session import get_session

    return get_session().get_service_model("sagemaker").operation_model(operation)


def _with_defaults(value: Any, defaults: Json) -> Any:
    """Put the defaults of parameters in the place of references to them."""
    if _is_reference(value):
        return defaults.get(str(value.get("Get")), value)
    if isinstance(value, dict):
        return {name: _with_defaults(held, defaults) for name, held in value.items()}
    return [_with_defaults(held, defaults) for held in value] if isinstance(value, list) else value


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _FUNCTIONS


_SAMPLES: Json = {"string": "x" * 40, "integer": 1, "long": 1, "boolean": True, "float": 1.0, "double": 1.0}


def _resolved(value: Any, shape: Any) -> Any:
    """Put values of the shape's type in the place of references."""
    if shape is None:
        return value
    if _is_reference(value):
        return _SAMPLES.get(shape.type_name, value)
    if isinstance(value, dict):
        return {name: _resolved(held, _member(shape, name)) for name, held in value.items()}
    if isinstance(value, list):
        return [_resolved(held, getattr(shape, "member", None)) for held in value]
    return value


def _member(shape: Any, name: str) -> Any:
    return shape.value if shape.type_name == "map" else getattr(shape, "members", {}).get(name)


def _limits(value: Any, shape: Any, place: str) -> Iterator[tuple[str, str]]:
    """Find what botocore does not look at: texts and lists that are too long, and words that are no choice."""
    if shape is None or _is_reference(value):
        return
    most = shape.metadata.get("max")
    if isinstance(value, str | list) and most is not None and len(value) > most:
        yield place, f"is longer than {most}"
    if isinstance(value, str) and shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield place, f"is {value!r}, which is none of those that botocore knows: {', '.join(shape.enum[:8])} ..."
    held = value.items() if isinstance(value, dict) else ()
    for name, one in held:
        yield from _limits(one, _member(shape, name), f"{place}.{name}".lstrip("."))
    for at, one in enumerate(value if isinstance(value, list) else ()):
        yield from _limits(one, getattr(shape, "member", None), f"{place}[{at}]")
