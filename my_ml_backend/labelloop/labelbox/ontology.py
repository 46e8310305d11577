"""What a model is asked: the part of an ontology that a model type can learn, its classes, and what it cannot hold.

A class is a tool's name, or the path of an answer: the names of the answers from the question down, with a slash
between them. Names are those that people see.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Self

from labelloop.data.classes import Find, class_finder
from labelloop.errors import LabelConfigError
from labelloop.kinds.majority import listed
from labelloop.labelbox.model_types import FEATURE_NAMES, TYPES, Feature, ModelType
from labelloop.types import Json, caseless

Path = tuple[tuple[str, str], ...]
"""A question and its answer, then one below that answer, and so on."""

_QUESTIONS: tuple[Feature, ...] = ("radio", "checklist")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Option:
    """One answer that a question offers, and the questions that follow it."""

    name: str
    value: str = ""
    id: str = ""
    questions: tuple["Question", ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A radio question, or a checklist: that takes ``several`` answers.

    ``names`` are all that it goes by, the first one in predictions.
    """

    names: tuple[str, ...]
    several: bool
    options: tuple[Option, ...]
    required: bool = False

    @property
    def name(self) -> str:
        """What it is called."""
        return self.names[0]

    def paths(self) -> Iterator[Path]:
        """Give the path of every answer after which no more need be answered, in the ontology's order."""
        for option in self.options:
            step = (self.name, option.name)
            if not any(one.required for one in option.questions):
                yield (step,)
            yield from ((step, *rest) for below in option.questions for rest in below.paths())


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
        learned, aside = _followed(question, several=model_type.choice == "multiple")
        paths = _spelled(tuple(learned.paths()))
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
    for tool in _entries(normalized, "tools"):
        for sort, names in found.items():
            if tool.get("tool") == sort and (name := read_name(tool.get("name"))):
                names[name] = None
    return {sort: tuple(names) for sort, names in found.items() if names}


def _questions(normalized: Json) -> dict[Feature, tuple[Question, ...]]:
    """Give the questions about a whole data row that have answers to choose from, by their sort."""
    found: dict[Feature, list[Question]] = {}
    for entry in _entries(normalized, "classifications"):
        question = _question(entry)
        if question is not None:
            found.setdefault("checklist" if question.several else "radio", []).append(question)
    return {sort: tuple(questions) for sort, questions in found.items()}


def _question(entry: Json) -> Question | None:
    names = tuple(dict.fromkeys(filter(None, (read_name(entry.get("name")), read_name(entry.get("instructions"))))))
    options = tuple(_options(entry))
    if entry.get("type") not in _QUESTIONS or not names or not options:
        return None
    return Question(names, entry["type"] == "checklist", options, entry.get("required") is True)


def _options(entry: Json) -> Iterator[Option]:
    for option in _entries(entry, "options"):
        value = read_name(option.get("value"))
        name = read_name(option.get("label")) or value
        if name:
            below = tuple(one for nested in _entries(option, "options") if (one := _question(nested)) is not None)
            yield Option(name, value, read_name(option.get("featureSchemaId")), below)


def _followed(question: Question, *, several: bool) -> tuple[Question, list[str]]:
    """Leave out what cannot be learned below a question, and say so.

    One class a row leaves room for one way down: of each answer the first radio question below it.
    """
    options, aside = [], []
    for option in question.options:
        kept = option.questions if several else tuple(one for one in option.questions if not one.several)[:1]
        aside += [
            f"the question {listed(one.name)} below {listed(option.name)} is not learned: a data row has one class"
            for one in option.questions
            if one not in kept
        ]
        followed = [_followed(one, several=several) for one in kept]
        aside += [said for _, more in followed for said in more]
        options.append(Option(option.name, option.value, option.id, tuple(one for one, _ in followed)))
    return Question(question.names, question.several, tuple(options), question.required), aside


def _spelled(paths: Sequence[Path]) -> dict[str, Path]:
    """Name each path as shortly as tells it from the others: by its answers, with the questions between, or escaped."""
    found: dict[str, Path] = {}
    different = list(dict.fromkeys(paths))
    waiting = different
    for spell in _SPELLINGS:
        counts = Counter(map(spell, waiting))
        taken = {path: spell(path) for path in waiting if counts[spell(path)] == 1 and spell(path) not in found}
        found |= {name: path for path, name in taken.items()}
        waiting = [path for path in waiting if path not in taken]
    places = {path: at for at, path in enumerate(different)}
    return dict(sorted(found.items(), key=lambda one: places[one[1]]))


def _answers(path: Path) -> str:
    return "/".join(answer for _, answer in path)


def _with_questions(path: Path) -> str:
    return "/".join((path[0][1], *(name for step in path[1:] for name in step)))


def _escaped(path: Path) -> str:
    steps = (path[0][1], *(name for step in path[1:] for name in step))
    return "/".join(name.replace("\\", "\\\\").replace("/", "\\/") for name in steps)


_SPELLINGS: tuple[Callable[[Path], str], ...] = (_answers, _with_questions, _escaped, repr)


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


def _entries(holder: Json, key: str) -> list[Json]:
    entries = holder.get(key)
    return [one for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []


def read_name(value: object) -> str:
    """Read a name, such as an answer that is a number; what is no character, as half of one, is replaced."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).encode(errors="replace").decode()
