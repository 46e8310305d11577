"""What a model is asked: the part of an ontology that a model type can learn, its classes, and what it cannot hold.

A class is a tool's name, or the path of an answer (questions.py). Names are those that people see.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from labelloop.data.classes import Find, class_finder
from labelloop.errors import LabelConfigError
from labelloop.kinds.majority import listed
from labelloop.labelbox.model_types import FEATURE_NAMES, TYPES, Feature, ModelType
from labelloop.labelbox.questions import Path, Question, entries, followed, read_name, read_question, spelled
from labelloop.types import Json, caseless

_QUESTIONS: tuple[Feature, ...] = ("radio", "checklist")
_SHOWN = 60


@dataclass(frozen=True)
class Ontology:
    """What of an ontology one model type learns.

    ``classes`` are in the ontology's order. ``asked`` names the tools or the question in words, ``others`` what could
    be learned in their place, ``aside`` says of questions below what is learned why they are not. ``question`` is the
    one that is answered, None where things are marked; ``known`` are all tools of this sort, learned or not.
    """

    type: ModelType
    classes: tuple[str, ...]
    asked: str
    others: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    question: Question | None = None
    known: frozenset[str] = frozenset()
    paths: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, normalized: Json, model_type: ModelType, asked: str = "") -> Self:
        """Take what a model type can learn: all tools of its sort, or the first question; or the one ``asked`` names.

        Raises LabelConfigError for an ontology that holds nothing of the sort, saying what it holds instead.
        """
        tools, questions = _tools(normalized), _questions(normalized)
        wanted = model_type.feature
        fitting = tools.get(wanted, ()) or tuple(one.name for one in questions.get(wanted, ()))
        if not fitting:
            raise LabelConfigError(_nothing(normalized, model_type, tools, questions))
        chosen = _chosen(normalized, wanted, fitting, asked)
        if wanted not in _QUESTIONS:
            names = (chosen,) if asked else fitting
            left = tuple(name for name in fitting if name not in names)
            return cls(model_type, names, _named(wanted, *names), _each(wanted, left), known=frozenset(fitting))
        question = next(one for one in questions[wanted] if one.name == chosen)
        learned, aside = followed(question, several=model_type.choice == "multiple")
        paths = spelled(tuple(learned.paths()))
        left = tuple(name for name in fitting if name != chosen)
        return cls(
            model_type,
            tuple(paths),
            _named(wanted, chosen),
            _each(wanted, left),
            tuple(aside),
            learned,
            frozenset(fitting),
            paths,
        )

    @classmethod
    def all_of(cls, normalized: Json) -> tuple[Self, ...]:
        """Take all that some model type can learn, one for each sort of tool and question, pictures' types first."""
        found: dict[Feature, Self] = {}
        for one in TYPES:
            try:
                found.setdefault(one.feature, cls.of(normalized, one))
            except LabelConfigError:
                continue
        return tuple(found.values())

    def finder(self, given: Iterable[tuple[str, str]] = ()) -> Find:
        """Make the function that gives the class that a model's means: what is ``given``, else by its name.

        Letter case does not count; of a path, the last step is enough where no other path ends in it.
        """
        told = {name: self._own(label) for name, label in given}
        return lambda name: told[name] if name in told else self._own(name) or self._last_steps.get(caseless(name))

    @cached_property
    def _own(self) -> Find:
        # Made once: every answer is read by it.
        return class_finder(self.classes)

    @cached_property
    def _last_steps(self) -> dict[str, str]:
        last = {name: caseless(path[-1][1]) for name, path in self.paths.items()}
        counts = Counter(last.values())
        return {step: name for name, step in last.items() if counts[step] == 1}


def _tools(normalized: Json) -> dict[Feature, tuple[str, ...]]:
    """Give the names of tools that mark what can be learned, each once, by their sort."""
    found: dict[Feature, dict[str, None]] = {"rectangle": {}, "named-entity": {}}
    for tool in entries(normalized, "tools"):
        for sort, names in found.items():
            if tool.get("tool") == sort and (name := read_name(tool.get("name"))):
                names[name] = None
    return {sort: tuple(names) for sort, names in found.items() if names}


def _questions(normalized: Json) -> dict[Feature, tuple[Question, ...]]:
    """Give the questions about a whole data row that have answers to choose from, by their sort."""
    found: dict[Feature, list[Question]] = {}
    for entry in entries(normalized, "classifications"):
        question = read_question(entry)
        if question is not None:
            found.setdefault("checklist" if question.several else "radio", []).append(question)
    return {sort: tuple(questions) for sort, questions in found.items()}


def _chosen(normalized: Json, sort: Feature, fitting: Sequence[str], asked: str) -> str:
    """Give the name that is asked for among those that fit, the first one where none is; raises LabelConfigError."""
    if not asked:
        return fitting[0]
    found = next((name for name in fitting if name == asked), None)
    found = found or next((name for name in fitting if caseless(name) == caseless(asked)), None)
    if found is None:
        raise LabelConfigError(
            f"{_name_of(normalized)} has no {FEATURE_NAMES[sort]} {listed(asked)}; it has {listed(*fitting)}"
        )
    return found


def _nothing(
    normalized: Json,
    wanted: ModelType,
    tools: Mapping[Feature, Sequence[str]],
    questions: Mapping[Feature, Sequence[Question]],
) -> str:
    """Say that an ontology cannot hold a model type, and which it can."""
    has: list[str] = []
    choose: list[str] = []
    for one in TYPES:
        names = tools.get(one.feature, ()) or [question.name for question in questions.get(one.feature, ())]
        if names and (one.of_text == wanted.of_text or one.feature not in _QUESTIONS):
            has.append(_named(one.feature, *names))
            choose.append(one.name)
    lacks = f"{_name_of(normalized)} has no {FEATURE_NAMES[wanted.feature]}"
    if not has:
        return f"{lacks}, and nothing else that is learned here: give it one, or choose another model"
    return f"{lacks}; it has {' and '.join(has)}: choose {' or '.join(choose)}"


def _named(sort: Feature, *names: str) -> str:
    return f"{FEATURE_NAMES[sort]}{'s' if len(names) > 1 else ''} {listed(*names)}"


def _each(sort: Feature, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(_named(sort, name) for name in names)


def _name_of(normalized: Json) -> str:
    name = read_name(normalized.get("name"))
    return f"the ontology {name[:_SHOWN]!r}" if name else "the ontology of this model"
