"""What the roles of deploy/terraform/aws may do, read from its files."""

import re
from dataclasses import dataclass
from pathlib import Path

MODULE = Path(__file__).parents[2] / "deploy/terraform/aws"

_BLOCK = re.compile(r'^data "aws_iam_policy_document" "(\w+)" \{\n(.*?)^\}', re.MULTILINE | re.DOTALL)
_INCLUDED = re.compile(r"data\.aws_iam_policy_document\.(\w+)(?:\[0\])?\.json")


@dataclass(frozen=True)
class Statement:
    """One statement of a policy: its actions, the text of its resources, whether it has a condition, its effect."""

    actions: tuple[str, ...]
    resources: str
    conditional: bool
    allows: bool


def documents() -> dict[str, list[Statement]]:
    """Give the statements of each policy document by its name, those of the documents that it includes among them."""
    text = "\n".join(path.read_text() for path in sorted(MODULE.glob("*.tf")))
    blocks = dict(_BLOCK.findall(text))
    return {name: _statements(name, blocks) for name in blocks}


def _statements(name: str, blocks: dict[str, str]) -> list[Statement]:
    body = f"\n{blocks[name]}"
    own = [_statement(part) for part in re.split(r"\n  (?:dynamic \")?statement\"? \{\n", body)[1:]]
    head = body.partition("statement")[0]
    return own + [one for other in _INCLUDED.findall(head) for one in _statements(other, blocks)]


def _statement(text: str) -> Statement:
    actions = re.search(r"actions\s*=\s*\[(.*?)\]", text, re.DOTALL)
    resources = re.search(r"resources\s*=\s*(.*?)(?=\n    \w+ \{|\n  \}|\Z)", text, re.DOTALL)
    return Statement(
        tuple(re.findall(r'"([^"]+)"', actions[1])) if actions else (),
        resources[1] if resources else "",
        "condition {" in text,
        'effect    = "Deny"' not in text,
    )
