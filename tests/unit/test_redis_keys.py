"""The table of all that LabelLoop keeps in Redis names what the loop's code does, and nothing else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from labelloop.loop import redis_client
from labelloop.loop.redis_client import key_of
from labelloop.loop.state import _FORGOTTEN
from labelloop.types import ProjectKey

CODE = [ast.parse(path.read_text()) for path in Path(redis_client.__file__).parent.glob("*.py")]
TABLE = [line for line in (redis_client.__doc__ or "").splitlines() if line.startswith("labelloop:")]
OF_A_PROJECT = "labelloop:<project>:"
STAYING = {"adding", "lease", "challenger-lease", "gone", "report", "telling"}
"""What is left of a project that is forgotten, for it runs out by itself."""
PLACES = {"_key": 0, "of_run": 0, "key_of": 1, "_enqueue": 1, "Planned": 0}
"""Functions that are given the name of a project's key, and where."""


def begins(node: ast.expr) -> str | None:
    """Give the text that an expression is, or begins with; None where that is no text."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def named() -> Iterator[str]:
    """Give the names of projects' keys that stand in the code."""
    for call in (node for tree in CODE for node in ast.walk(tree) if isinstance(node, ast.Call)):
        place = PLACES.get(call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", ""))
        given = call.args[place : place + 1] if place is not None else []
        for one in (part for arg in given for part in choices(arg)):
            if (text := begins(one)) is not None:
                yield text.partition(":")[0]


def choices(node: ast.expr) -> list[ast.expr]:
    """Give what an expression may be: the branches of ``a if b else c``, or itself."""
    return [*choices(node.body), *choices(node.orelse)] if isinstance(node, ast.IfExp) else [node]


def test_every_key_of_a_project_is_in_the_table_and_the_table_names_no_other() -> None:
    listed = {
        name
        for line in TABLE
        if line.startswith(OF_A_PROJECT)
        for name in re.findall(r"[\w-]+", line[20:].split("  ")[0].split(":")[0])
    }
    # Messages are kept by what they say, and what is wished for by its kind.
    written = {*named(), "again", "begun"} - {"notify"}
    challengers = {name for name in listed if name.startswith("challenger-")}
    assert written - listed == set()
    assert listed - challengers <= written
    assert {name.removeprefix("challenger-") for name in challengers} <= written
    # By this one a release before finds a job that none of its workers takes.
    assert "challenge" not in listed
    # What is held by somebody stays with them, and what is told of a project that is gone outlives it.
    assert listed - set(_FORGOTTEN) == STAYING


def test_every_other_key_is_in_the_table() -> None:
    words = {text for tree in CODE for node in ast.walk(tree) if isinstance(node, ast.expr) and (text := begins(node))}
    keys = {text for text in words if re.fullmatch(r"labelloop:[\w:-]*", text)} - {"labelloop:"}
    assert [key for key in sorted(keys) if not any(re.split(r"  |<", line)[0] == key for line in TABLE)] == []
    assert key_of(ProjectKey("studio", 7), "job") == "labelloop:studio/7:job"
