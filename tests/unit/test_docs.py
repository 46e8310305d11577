"""The documentation names every setting and every command, and nothing that is not there."""

import re
from pathlib import Path

import pytest
from click import Context

from labelloop.cli import main, settings_table
from labelloop.environment import HANDED_ON
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
