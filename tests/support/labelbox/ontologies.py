"""Ontologies as Labelbox normalizes them, and what a line of predictions has to find in one.

Names of features are display names; ``schema_id`` makes the id of a feature of its name, so that labels and ontologies
agree.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labelloop.types import Json

Options = Sequence[str] | Mapping[str, Any]
"""Names of answers; or names with the questions below each: ``{"outdoor": [radio("place", ("sea",))], "indoor": []}``.
"""


def schema_id(name: str) -> str:
    """Give the 25 letters that stand for a feature."""
    return "cl" + hashlib.sha256(name.encode()).hexdigest()[:23]


def slug(name: str) -> str:
    """Write a name as Labelbox writes the ``value`` of a feature."""
    return name.lower().replace(" ", "_")


def ontology(*features: Json) -> Json:
    """Put tools and questions together."""
    return {
        "tools": [one for one in features if "tool" in one],
        "classifications": [one for one in features if "type" in one],
    }


def rectangle(name: str, *questions: Json) -> Json:
    """A tool that draws boxes, perhaps with questions about each."""
    return _tool("rectangle", name, questions)


def entity(name: str, *questions: Json) -> Json:
    """A tool that marks spans of a text."""
    return _tool("named-entity", name, questions)


def radio(name: str, answers: Options) -> Json:
    """A question with one answer."""
    return _question("radio", name, answers)


def checklist(name: str, answers: Options) -> Json:
    """A question with any number of answers."""
    return _question("checklist", name, answers)


def free_text(name: str) -> Json:
    """A question that is answered in words."""
    return _question("text", name, ())


def find(features: Sequence[Json], line: Json) -> Json | None:
    """Find the feature that ``name`` or ``schemaId`` names; options have their name in ``label``."""
    for one in features:
        if line.get("schemaId") == one["featureSchemaId"] or line.get("name") == one.get("label", one.get("name")):
            return one
    return None


def names(found: Json) -> Iterator[str]:
    """Give the names of everything in an ontology."""
    for one in found["tools"]:
        yield one["name"]
        yield from names({"tools": (), "classifications": one["classifications"]})
    for one in found["classifications"]:
        yield one["name"]
        for option in one["options"]:
            yield option["label"]
            yield from names({"tools": (), "classifications": option["options"]})


def _tool(kind: str, name: str, questions: Sequence[Json]) -> Json:
    return {
        "tool": kind,
        "name": name,
        "color": "#1f77b4",
        "required": False,
        "schemaNodeId": schema_id(f"node {name}"),
        "featureSchemaId": schema_id(name),
        "classifications": list(questions),
    }


def _question(kind: str, name: str, answers: Options) -> Json:
    below = answers if isinstance(answers, Mapping) else dict.fromkeys(answers, ())
    return {
        "type": kind,
        "name": name,
        "instructions": name,
        "required": False,
        "scope": "global",
        "schemaNodeId": schema_id(f"node {name}"),
        "featureSchemaId": schema_id(name),
        "options": [
            {
                "label": label,
                "value": slug(label),
                "schemaNodeId": schema_id(f"node {name} {label}"),
                "featureSchemaId": schema_id(f"{name} {label}"),
                "options": list(questions),
            }
            for label, questions in below.items()
        ],
    }
