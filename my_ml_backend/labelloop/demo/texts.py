"""The demo's texts: what Python's own documentation says, by topic, and notes that are made up, with names in them."""

import importlib
import inspect
import random
import re
from collections.abc import Iterator, Mapping
from types import ModuleType

from labelloop.demo.examples import Example, Examples
from labelloop.types import SPANS, TEXTS, Region, Span

_TOPICS: Mapping[str, str] = {
    "networking": "socket ssl http.client http.server http.cookiejar urllib.request urllib.parse smtplib ftplib "
    "imaplib poplib socketserver selectors asyncio ipaddress xmlrpc.client email.message email.utils",
    "files": "os os.path shutil pathlib tempfile zipfile tarfile glob fnmatch gzip bz2 lzma io stat filecmp mmap",
    "numbers": "math cmath statistics fractions decimal random numbers operator",
    "text": "re string textwrap difflib unicodedata codecs html html.parser gettext locale shlex csv json configparser",
    "time": "datetime time calendar zoneinfo sched timeit",
    "processes": "threading multiprocessing queue concurrent.futures subprocess signal contextvars "
    "multiprocessing.pool multiprocessing.managers",
}
"""Modules of the standard library by what they are about."""

_FEWEST_WORDS, _LONGEST = 5, 300

_SIGNATURE = re.compile(r"[\w.]+\(.*\)( ->|$|:)")

_NOTES = 500

_PATTERNS = (
    "{PERSON} called from {PLACE} about the delivery of {DATE}.",
    "The order of {COMPANY} leaves {PLACE} on {DATE}; please tell {PERSON}.",
    "{COMPANY} has not paid the invoice of {DATE}.",
    "Meeting with {PERSON} ({COMPANY}) in {PLACE}, {DATE}, 10:30.",
    "{PERSON} and {PERSON} will be in {PLACE} until {DATE}.",
    "Two crates for {COMPANY} are still in {PLACE}.",
    "According to {PERSON}, nothing was sent after {DATE}.",
    "Please cancel the booking in {PLACE}: {PERSON} cannot come before {DATE}.",
    "New contact at {COMPANY}: {PERSON}, who was with {COMPANY} before.",
    "The lorry from {PLACE} to {PLACE} was late again.",
    "Since {DATE} all parcels for {PLACE} go by way of {PLACE}.",
    "{PERSON} asks whether {COMPANY} delivers to {PLACE}.",
    "The price list is out of date, says {PERSON}.",
    "Nobody was at the gate; the driver waited for an hour and left.",
    "Returned: 14 boxes, damaged by water, from {PLACE}.",
    "Ask {PERSON} for the keys of the store in {PLACE} before {DATE}.",
    "{COMPANY} and {COMPANY} share the warehouse in {PLACE} since {DATE}.",
    "Thank you for your patience - {PERSON}, {COMPANY}",
    "Please count the pallets again, the numbers do not match.",
    "{DATE}: {PERSON} starts in {PLACE}.",
)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


_FIRST = _names(
    "Ama, Bilal, Chloé, Daniel, Elif, Farid, Grace, Hana, Ivan, June, Kofi, Lena, Marek, Noor, Olga, Paul, Qing, Rosa, "
    "Sami, Tomás, Uma, Vera, Will, Xenia, Yusuf, Zoë, April, Florence, Jordan, Austin"
)
_LAST = _names(
    "Adeyemi, Berg, Costa, Dubois, Eriksen, Fischer, Gupta, Haddad, Ito, Jensen, Kowalski, López, Moreau, Nguyen, "
    "O'Brien, Petrov, Quispe, Rossi, Schmidt, Tanaka, Ueda, Varga, Weber, Xu, Yilmaz, Zhou, Leeds, Florence, Lincoln, "
    "York"
)
_PLACES = _names(
    "Nairobi, Lisbon, Osaka, Leeds, Hamburg, Lima, Austin, Florence, Oslo, Accra, Riga, Montréal, Zürich, Porto, York, "
    "Lincoln, Jaipur, Cairo, Perth, Gdańsk, New York, San José, Buenos Aires, Cape Town, Hong Kong, Aix-en-Provence"
)
_TRADES = _names("Shipping, Foods, & Sons, Logistics, Textiles, Steel, Paper Ltd, Trading Co., Brewery")
_MONTHS = _names("January, February, March, April, May, June, July, August, September, October, November, December")
_DAYS = _names("Monday, Tuesday, Wednesday, Thursday, Friday")


def documentation(seed: int, tasks: int) -> Examples:
    """Take what the documentation of this Python says of functions and classes of six topics, ``tasks`` to be shown.

    About 2,000 texts; which they are depends on the release of Python.
    """
    topics: dict[str, set[str]] = {}
    for topic, names in _TOPICS.items():
        for name in names.split():
            for text in _said(importlib.import_module(name)):
                topics.setdefault(text, set()).add(topic)
    # What several topics say, such as of a method that they inherit, is of none.
    examples = [Example(None, tuple(found), text) for text, found in sorted(topics.items()) if len(found) == 1]
    return Examples.drawn(tuple(_TOPICS), examples, seed, tasks, TEXTS)


def notes(seed: int, tasks: int) -> Examples:
    """Make up notes of an office with people, companies, places and dates in them, ``tasks`` of them to be shown.

    Some 440 of them differ.
    """
    chance = random.Random("notes")
    made = {one.text: one for one in (_note(chance) for _ in range(_NOTES))}
    return Examples.drawn(("PERSON", "COMPANY", "PLACE", "DATE"), made.values(), seed, tasks, SPANS)


def _said(module: ModuleType) -> Iterator[str]:
    own = module.__name__.partition(".")[0]
    for said in (module, *_public(module)):
        yield from _sentence(said)
        if inspect.isclass(said) and said.__module__.partition(".")[0] == own:
            for method in _public(said):
                yield from _sentence(method)


def _public(held: object) -> Iterator[object]:
    for name, value in sorted(vars(held).items()):
        if not name.startswith("_") and (inspect.isclass(value) or callable(value)):
            yield value


def _sentence(said: object) -> Iterator[str]:
    """Yield the first paragraph of a documentation that is no signature, as far as it is not too long."""
    text = getattr(said, "__doc__", None)
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)) if isinstance(text, str) else ():
        words = paragraph.split()
        if len(words) >= _FEWEST_WORDS and not _SIGNATURE.match(paragraph):
            yield " ".join(words)[:_LONGEST]
            return


def _note(chance: random.Random) -> Example:
    """Fill in a pattern, and note where what was put in."""
    text, regions = "", []
    for part in re.split(r"(\{[A-Z]+\})", chance.choice(_PATTERNS)):
        if not part.startswith("{"):
            text += part
            continue
        label = part.strip("{}")
        put = _FILLED[label](chance)
        regions.append(Region(label, Span(len(text), len(text) + len(put))))
        text += put
    return Example(None, tuple(sorted({one.label for one in regions})), text, tuple(regions))


def _person(chance: random.Random) -> str:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    return chance.choice((f"{first} {last}", first, f"{first[0]}. {last}", f"Dr {last}"))


def _company(chance: random.Random) -> str:
    return f"{chance.choice((*_LAST, *_PLACES))} {chance.choice(_TRADES)}"


def _place(chance: random.Random) -> str:
    return chance.choice(_PLACES)


def _date(chance: random.Random) -> str:
    day, month = chance.randint(1, 28), chance.choice(_MONTHS)
    year = chance.randint(2024, 2027)
    return chance.choice(
        (
            f"{day} {month}",
            f"{chance.choice(_DAYS)}",
            f"{month} {day}, {year}",
            f"{year}-{chance.randint(1, 12):02}-{day:02}",
        )
    )


_FILLED = {"PERSON": _person, "COMPANY": _company, "PLACE": _place, "DATE": _date}
