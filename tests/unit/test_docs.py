"""The documentation names every setting and every command, and nothing that is not there."""

import re
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest
from click import Context

from labelloop.cli import main, settings_table
from labelloop.environment import HANDED_ON
from labelloop.settings import Settings
from support.tools import REQUIRED

ROOT = Path(__file__).parents[2]
COMMANDS = main.to_info_dict(Context(main))["commands"]
PAGES = sorted(page for part in ("*", "docs/*", "my_ml_backend/*", "deploy/**/*") for page in ROOT.glob(f"{part}.md"))


@pytest.mark.parametrize("row", settings_table(), ids=lambda row: row["name"])
def test_every_setting_is_in_the_table_with_its_default_and_help(row: dict[str, str]) -> None:
    default = f"`{row['default']}`" if row["default"] else ""
    line = f"| `{row['name']}` | {default} | {row['help']} |"

    assert line in (ROOT / "docs/settings.md").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_on_its_page(command: str) -> None:
    assert f"## `labelloop {command}" in (ROOT / "docs/commands.md").read_text()


def test_every_option_of_every_command_is_on_its_page() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    options = {option for command in COMMANDS.values() for one in command["params"] for option in one["opts"]} - {
        "--help"
    }

    assert {option for option in options if option.startswith("--") and f"`{option}" not in page} == set()


def test_every_link_leads_to_a_file_and_to_a_heading_in_it() -> None:
    links = [
        (page, file, anchor)
        for page in PAGES
        for file, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", _without_blocks(page.read_text()))
    ]
    anchors = {page.resolve(): _anchors(page.read_text()) for page in PAGES}

    def leads_nowhere(page: Path, file: str, anchor: str) -> bool:
        target = (page.parent / file).resolve() if file else page.resolve()
        return not target.exists() or (bool(anchor) and anchor not in anchors.get(target, ()))

    assert sum(bool(anchor) for *_, anchor in links) > 400
    assert [f"{page.name}: {file}#{anchor}" for page, file, anchor in links if leads_nowhere(page, file, anchor)] == []


def test_every_page_that_code_names_is_there_with_the_section_it_names() -> None:
    pattern = re.compile(r'(docs/[\w-]+\.md)(?:#([\w-]+)|, "([^"]+)")?')
    named = {found for text in _code().values() for found in pattern.findall(text)}

    assert len(named) > 30
    lost = [one for one in named if not {one[1], _slug(one[2])} <= {"", *_anchors(_text(ROOT / one[0]))}]
    assert [one for one in named if not (ROOT / one[0]).exists()] + lost == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Two speeds", "two-speeds"),
        ("`labelloop train`: what it needs", "labelloop-train-what-it-needs"),
        ("A [link](docs/loop.md#one), and more", "a-link-and-more"),
        ("The file `model_index.json` (of 8 bits)", "the-file-model_indexjson-of-8-bits"),
        ("Run -- and go on", "run----and-go-on"),
    ],
)
def test_an_anchor_is_spelled_as_github_spells_it(heading: str, anchor: str) -> None:
    assert _slug(heading) == anchor
    assert _anchors(f"# {heading}\n\n```\n# a comment\n```\n## {heading}\n") == {anchor, f"{anchor}-1"}


def test_every_variable_in_the_docs_is_a_setting_or_another_programs() -> None:
    known = {row["name"] for row in settings_table()} | {REQUIRED, *HANDED_ON}
    named = {name for page in PAGES for name in re.findall(r"\bLABELLOOP_[A-Z_]+\b", page.read_text())}

    assert {name for name in named - known if not name.startswith("LABELLOOP_TEST_")} == set()


def test_every_citation_of_the_contract_is_of_a_section_it_has() -> None:
    cited = [
        (path.name, re.sub(r"\s+(# )?", " ", part))
        for path, text in _code().items()
        for part in re.findall(r"\(contract,\s+(?:# )?([^)]+)\)", text)
    ]
    sections = re.findall(r"^## (.+)$", (ROOT / "docs/label-studio-contract.md").read_text(), re.MULTILINE)

    assert len(cited) > 20
    names = {f'"{section}"' for section in sections}
    assert [(name, part) for name, part in cited if not set(part.split(" and ")) <= names] == []


MAP = (ROOT / "docs/architecture.md").read_text()


def test_every_path_on_the_map_exists() -> None:
    named = re.findall(r"`([\w.-]+(?:/[\w.-]+)+|[\w-]+\.(?:py|toml|md))`", MAP)
    places = (ROOT, ROOT / "my_ml_backend/labelloop")

    assert len(named) > 60
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_every_room_is_on_the_map_and_in_its_drawing() -> None:
    rooms = {init.parent.name for init in (ROOT / "my_ml_backend/labelloop").glob("*/__init__.py")}
    table = MAP.partition("## Rooms")[2].partition("## ")[0]
    drawing = MAP.partition("## Who may import whom")[2].partition("## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == rooms
    assert rooms <= set(re.findall(r"\w+", "".join(re.findall(r"^ {4}.*$", drawing, re.MULTILINE))))


def test_what_the_page_on_security_names_is_there_and_every_secret_is_on_it() -> None:
    page = (ROOT / "docs/security.md").read_text()
    shown = re.findall(r"`((?:unit|contract)/[\w/]+\.py)::(\w+)`", page)
    refusing = re.findall(r"`([a-z_]+(?:/[a-z_]+)*\.py)`", page)
    secret = {entry.metadata["name"] for entry in fields(Settings) if entry.metadata["secret"]}

    assert len(shown) > 30
    assert [one for one in shown if f"def {one[1]}(" not in _text(ROOT / "tests" / one[0])] == []
    assert [one for one in refusing if not (ROOT / "my_ml_backend/labelloop" / one).exists()] == []
    assert {name for name in secret if f"`{name}`" not in page} == set()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@cache
def _code() -> dict[Path, str]:
    """Read all of the code, but for this file."""
    files = [path for top in ("my_ml_backend", "tests", "benchmarks") for path in (ROOT / top).rglob("*.py")]
    return {path: path.read_text() for path in files if path != Path(__file__)}


def _without_blocks(page: str) -> str:
    return re.sub(r"(?ms)^ *```.*?^ *```$", "", page)


def _anchors(page: str) -> set[str]:
    """Give the anchors of a page's headings; of those that are spelled alike, the later ones are numbered."""
    slugs = [_slug(heading) for heading in re.findall(r"^#+ +(.+)$", _without_blocks(page), re.MULTILINE)]
    return {slug + (f"-{slugs[:at].count(slug)}" if slug in slugs[:at] else "") for at, slug in enumerate(slugs)}


def _slug(heading: str) -> str:
    """Spell a heading's anchor as GitHub does: words and hyphens alone, in small letters."""
    shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w -]", "", shown.lower()).replace(" ", "-")
