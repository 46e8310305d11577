"""A pipeline's definition (version 2020-12-01): what it says, and what its references stand for while it runs."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jmespath

from labelloop.types import Json

_TYPES: dict[str, Callable[[str], Any]] = {
    "String": str,
    "Integer": int,
    "Float": float,
    "Boolean": lambda text: {"true": True, "false": False}[text.lower()],
}
_RUN_HERE = ("Processing", "Training", "Condition", "RegisterModel", "Fail")


class DefinitionError(Exception):
    """The definition, or what is asked of it, cannot be: says what and where."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition that can be read; ``parameters`` by name."""

    parameters: dict[str, Json]
    steps: tuple[Json, ...]

    @classmethod
    def read(cls, text: str) -> "Definition":
        """Read one; raises DefinitionError."""
        try:
            found = json.loads(text)
        except ValueError as error:
            raise DefinitionError(f"Unable to parse pipeline definition. It is no JSON: {error}") from None
        if not isinstance(found, dict) or found.get("Version") != "2020-12-01":
            raise DefinitionError("Unable to parse pipeline definition. Its Version is not '2020-12-01'.")
        read = cls({one["Name"]: one for one in found.get("Parameters") or []}, tuple(found.get("Steps") or ()))
        read._check()
        return read

    def values(self, given: list[dict[str, str]]) -> dict[str, Any]:
        """Give the parameters of an execution, the defaults among them; raises DefinitionError."""
        told = {one["Name"]: one["Value"] for one in given}
        unknown = sorted(told.keys() - self.parameters.keys())
        if unknown:
            raise DefinitionError(f"Parameters {unknown} are not defined in the pipeline definition.")
        missing = sorted(
            name for name, one in self.parameters.items() if name not in told and "DefaultValue" not in one
        )
        if missing:
            raise DefinitionError(f"Parameters {missing} have neither a value nor a default.")
        return {name: _value(one, told.get(name)) for name, one in self.parameters.items()}

    def _check(self) -> None:
        if not self.steps:
            raise DefinitionError("Unable to parse pipeline definition. It has no Steps.")
        names = [step.get("Name") for step in all_steps(self.steps)]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice or None in names:
            raise DefinitionError(f"Unable to parse pipeline definition. Step names must be there and differ: {twice}")
        for step in all_steps(self.steps):
            for name in dependencies(step):
                if name not in names:
                    raise DefinitionError(f"Step {step['Name']} refers to a step that is not there: {name}")
            for text in references(step.get("Arguments", {})):
                _, _, name = text.partition("Parameters.")
                if text.startswith("Parameters.") and name not in self.parameters:
                    raise DefinitionError(f"Step {step['Name']} refers to a parameter that is not there: {name}")


def all_steps(steps: Any) -> Iterator[Json]:
    """Give all steps, those in the branches of conditions among them."""
    for step in steps:
        yield step
        for branch in ("IfSteps", "ElseSteps"):
            yield from all_steps((step.get("Arguments") or {}).get(branch) or ())


def own_arguments(step: Json) -> Json:
    """Give a step's arguments without the steps in its branches."""
    return {key: value for key, value in (step.get("Arguments") or {}).items() if key not in ("IfSteps", "ElseSteps")}


def dependencies(step: Json) -> set[str]:
    """Name the steps that one waits for, because it says so or refers to them."""
    referred = {text.split(".")[1] for text in references(own_arguments(step)) if text.startswith("Steps.")}
    return referred | {
        one.partition(".")[2] or one if one.startswith("Steps.") else one for one in step.get("DependsOn") or ()
    }


def references(value: Any) -> Iterator[str]:
    """Give what all ``{"Get": ...}`` inside a value name."""
    if isinstance(value, dict):
        if set(value) == {"Get"}:
            yield str(value["Get"])
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


@dataclass(frozen=True, slots=True)
class Resolver:
    """Puts values in the place of references; ``steps`` holds what Describe tells of those that have run.

    ``read`` reads an object of S3.
    """

    parameters: dict[str, Any]
    execution: dict[str, str]
    steps: dict[str, Json]
    read: Callable[[str], bytes]

    def resolve(self, value: Any) -> Any:
        """Resolve all references inside a value; raises DefinitionError for one that stands for nothing."""
        if isinstance(value, list):
            return [self.resolve(one) for one in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Get"}:
            return self._get(value["Get"])
        if set(value) == {"Std:Join"}:
            return str(value["Std:Join"]["On"]).join(_text(self.resolve(one)) for one in value["Std:Join"]["Values"])
        if set(value) == {"Std:JsonGet"}:
            return self._json(value["Std:JsonGet"])
        return {key: self.resolve(one) for key, one in value.items()}

    def holds(self, condition: Json) -> bool:
        """Say whether a condition of a Condition step does; raises DefinitionError."""
        kind = condition["Type"]
        if kind == "Not":
            return not self.holds(condition["Expression"])
        if kind == "Or":
            return any(self.holds(one) for one in condition["Conditions"])
        if kind == "In":
            return self.resolve(condition["QueryValue"]) in self.resolve(condition["Values"])
        left, right = self.resolve(condition["LeftValue"]), self.resolve(condition["RightValue"])
        compare: dict[str, Callable[[], bool]] = {
            "Equals": lambda: left == right,
            "GreaterThan": lambda: left > right,
            "GreaterThanOrEqualTo": lambda: left >= right,
            "LessThan": lambda: left < right,
            "LessThanOrEqualTo": lambda: left <= right,
        }
        if kind not in compare:
            raise DefinitionError(f"ClientError: condition type {kind} is unknown")
        try:
            return compare[kind]()
        except TypeError:
            raise DefinitionError(f"ClientError: {left!r} and {right!r} cannot be compared by {kind}") from None

    def _get(self, reference: str) -> Any:
        root, _, rest = reference.partition(".")
        if root == "Parameters" and rest in self.parameters:
            return self.parameters[rest]
        if root == "Execution" and rest in self.execution:
            return self.execution[rest]
        step, _, path = rest.partition(".")
        if root == "Steps" and step in self.steps:
            found = jmespath.search(_by_name(path), self.steps[step])
            if found is not None:
                return found
        raise DefinitionError(f"ClientError: nothing is known by {reference!r}")

    def _json(self, asked: Json) -> Any:
        reference = asked["PropertyFile"]
        name = reference["Get"] if isinstance(reference, dict) else reference
        found = re.fullmatch(r"Steps\.([^.]+)\.PropertyFiles\.([^.]+)", name)
        place = self.steps.get(found[1], {}).get("PropertyFiles", {}).get(found[2]) if found else None
        if place is None:
            raise DefinitionError(f"ClientError: there is no property file {name!r}")
        value = jmespath.search(asked["Path"], json.loads(self.read(place)))
        if value is None:
            raise DefinitionError(f"ClientError: {place} holds nothing at {asked['Path']!r}")
        return value


def _by_name(path: str) -> str:
    """Write ``Outputs['run']`` as JMESPath does: outputs and inputs are found by their names."""
    for kind in ("Output", "Input", "Channel"):
        path = re.sub(rf"({kind}s|ProcessingInputs|InputDataConfig)\['([^']+)'\]", rf"\1[?{kind}Name=='\2']|[0]", path)
    return path


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | dict | list) else str(value)


def _value(parameter: Json, text: str | None) -> Any:
    kind = parameter.get("Type", "String")
    if text is None:
        return parameter["DefaultValue"]
    if len(text) > 1024:
        raise DefinitionError(f"Parameter {parameter['Name']} has more than 1024 letters.")
    try:
        value = _TYPES[kind](text)
    except (KeyError, ValueError):
        raise DefinitionError(f"Parameter {parameter['Name']} is no {kind}: {text!r}") from None
    if parameter.get("EnumValues") and value not in parameter["EnumValues"]:
        raise DefinitionError(f"Parameter {parameter['Name']} is none of {parameter['EnumValues']}: {text!r}")
    return value


def refuse_strangers(step: Json) -> None:
    """Raise DefinitionError for a step that the stand-in cannot run."""
    if step.get("Type") not in _RUN_HERE:
        raise DefinitionError(f"the stand-in runs no steps of type {step.get('Type')}, only {', '.join(_RUN_HERE)}")
