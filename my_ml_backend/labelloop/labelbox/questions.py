"""Questions of an ontology about a whole data row: the answers they offer, those below them, and the classes they are.

A class is the path of an answer: the names of the answers from the question down, with a slash between them.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from labelloop.kinds.majority import listed
from labelloop.types import Json

Path = tuple[tuple[str, str], ...]
"""A question and its answer, then one below that answer, and so on."""


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


def read_question(entry: Json) -> Question | None:
    """Read a question; None for one that has no answers to choose from."""
    names = tuple(dict.fromkeys(filter(None, (read_name(entry.get("name")), read_name(entry.get("instructions"))))))
    options = tuple(_options(entry))
    if entry.get("type") not in ("radio", "checklist") or not names or not options:
        return None
    return Question(names, entry["type"] == "checklist", options, entry.get("required") is True)


def _options(entry: Json) -> Iterator[Option]:
    for option in entries(entry, "options"):
        value = read_name(option.get("value"))
        name = read_name(option.get("label")) or value
        if name:
            below = tuple(one for nested in entries(option, "options") if (one := read_question(nested)) is not None)
            yield Option(name, value, read_name(option.get("featureSchemaId")), below)


def followed(question: Question, *, several: bool) -> tuple[Question, list[str]]:
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
        below = [followed(one, several=several) for one in kept]
        aside += [said for _, more in below for said in more]
        options.append(Option(option.name, option.value, option.id, tuple(one for one, _ in below)))
    return Question(question.names, question.several, tuple(options), question.required), aside


def spelled(paths: Sequence[Path]) -> dict[str, Path]:
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


def _between(path: Path) -> str:
    return "/".join((path[0][1], *(name for step in path[1:] for name in step)))


def _escaped(path: Path) -> str:
    steps = (path[0][1], *(name for step in path[1:] for name in step))
    return "/".join(name.replace("\\", "\\\\").replace("/", "\\/") for name in steps)


_SPELLINGS: tuple[Callable[[Path], str], ...] = (_answers, _between, _escaped, repr)


def entries(holder: Json, key: str) -> list[Json]:
    """Give the objects of a list, whatever else may stand there."""
    found = holder.get(key)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def read_name(value: object) -> str:
    """Read a name, such as an answer that is a number; what is no character, as half of one, is replaced."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    return str(value).encode(errors="replace").decode()
