"""What a run tells of labels that its training left out."""

from typing import Any

from labelloop.data.manifest import Manifest
from labelloop.run.suspects import told, with_left_out, with_suspects
from labelloop.types import Item, ProjectKey

A, B = "a" * 64, "b" * 64
MANIFEST = Manifest.of(
    ProjectKey("local", 1), "single", ("cat", "dog"), [Item(7, A, ("cat",)), Item(3, A, ("cat",)), Item(9, B, ("dog",))]
)


def one(picture: str, score: float = 0.9) -> dict[str, Any]:
    return {"picture": picture, "given": ["cat"], "suggested": ["dog"], "score": score, "given_score": 0.05}


def test_what_was_left_out_names_the_task_that_is_learned_from_and_is_told() -> None:
    found = with_suspects({"suspects": [one(B), one(A)], "notes": ("first",), "recipe": "head"}, MANIFEST)
    assert [(each["task"], each["picture"]) for each in found["suspects"]] == [(9, B), (3, A)]
    assert found["notes"][0] == "first"
    assert found["notes"][1].startswith("2 labels were left out of training as probably wrong (task 9, 3): ")
    nothing = {"suspects": [], "notes": ("first",)}
    assert with_suspects(nothing, MANIFEST) == nothing


def test_only_the_first_tasks_are_told() -> None:
    assert "1 label was left out of training as probably wrong (task 4)" in told([{"task": 4}])
    assert "(task 1, 2, 3, 4, 5 and 2 more)" in told([{"task": task} for task in range(1, 8)])


def test_likely_errors_say_which_of_them_were_left_out_and_none_is_missing() -> None:
    errors = [{"task": 1, **one(A, 0.99)}, {"task": 2, **one(B, 0.8)}]
    found = with_left_out(errors, [{"task": 2, **one(B)}, {"task": 5, **one(A, 0.95)}])
    assert [(each["task"], each["left_out"]) for each in found] == [(1, False), (5, True), (2, True)]
