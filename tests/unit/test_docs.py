"""The documentation names every setting and every command, and nothing that is not there."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
from click import Context

from labelloop.cli import main, settings_table
from labelloop.environment import HANDED_ON
from labelloop.settings import Settings
from support.tools import REQUIRED

ROOT = Path(__file__).parents[2]
COMMANDS = main.to_info_dict(Context(main))["commands"]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("my_ml_backend/*.md")])


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


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())]

    assert links
    assert [f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()] == []


def test_every_variable_in_the_docs_is_a_setting_or_another_programs() -> None:
    known = {row["name"] for row in settings_table()} | {REQUIRED, *HANDED_ON}
    named = {name for page in PAGES for name in re.findall(r"\bLABELLOOP_[A-Z_]+\b", page.read_text())}

    assert {name for name in named - known if not name.startswith("LABELLOOP_TEST_")} == set()


def test_every_citation_of_the_contract_is_of_a_section_it_has() -> None:
    files = [path for top in ("my_ml_backend", "tests", "benchmarks") for path in (ROOT / top).rglob("*.py")]
    texts = {path: re.sub(r"\s+(# )?", " ", path.read_text()) for path in files if path != Path(__file__)}
    cited = [(path.name, part) for path, text in texts.items() for part in re.findall(r"\(contract, ([^)]+)\)", text)]
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
