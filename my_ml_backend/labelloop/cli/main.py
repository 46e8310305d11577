"""The ``labelloop`` command; its commands are the functions of this package that click declares.

Here errors end as one line and exit code 1; wrong usage is exit code 2. Errors of ours say it themselves. A package
that is not installed, a path that cannot be read or written and a file that is no text come up from anywhere below, and
get the words that a person can act on.
"""

import ast
import errno
import logging
import os
import sys
from dataclasses import fields
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import click

from labelloop import __version__
from labelloop.environment import warn_of_unknown
from labelloop.errors import LabelLoopError, SettingsError, UnsafeStore
from labelloop.logs import start_logging
from labelloop.settings import Settings

_PROCESSES = ("serve", "train", "web", "worker")
"""The commands that a start consists of: they say which variables are no settings."""

_RESTARTED = ("serve", "web", "worker")

_WITHOUT_HUB = ("deploy", "serve", "start")
"""What gets the settings alone: not every image holds what a hub imports, and what is set up elsewhere needs none."""

_TOLERANT = ("doctor", "start")
"""What says itself which settings are wrong."""

_MODULES = {"sklearn": "scikit-learn", "yaml": "pyyaml"}
"""Packages that are imported by another name than they are installed by."""

_REMEDIES = {
    errno.ENOENT: "Check how the path is spelled, and that its folder is there",
    errno.ENOTDIR: "A part of the path is a file where a folder is needed: name another path",
    errno.EISDIR: "It is a folder where a file is needed: name a file",
    errno.EACCES: "Give this user the right to read and write it, or name another path",
    errno.EPERM: "Give this user the right to read and write it, or name another path",
    errno.EROFS: "Name a path that can be written",
    errno.ENOSPC: "Make room there, or name a path elsewhere",
}

_log = logging.getLogger(__name__)


class _Impossible(click.ClickException):
    """Settings that a process cannot work with; whoever starts it again when it ends need not (sysexits.h)."""

    exit_code = os.EX_CONFIG


class _Declared(NamedTuple):
    """Where a command is declared, and what its help says."""

    module: str
    function: str
    help: str


@cache
def _declared() -> dict[str, _Declared]:
    """Read from the sources of this package which commands there are, by name: importing them all takes a second."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and path.stem != "main":
                for name in filter(None, (_command_name(one, node.name) for one in node.decorator_list)):
                    found[name] = _Declared(path.stem, node.name, ast.get_docstring(node) or "")
    return found


def _command_name(decorator: ast.expr, function: str) -> str:
    """Give the name of the command that a decorator makes of a function; empty where it makes none."""
    match decorator:
        case ast.Call(ast.Attribute(ast.Name("click"), "command" | "group"), [ast.Constant(name)]):
            return str(name)
        case ast.Call(ast.Attribute(ast.Name("click"), "command" | "group"), []):
            return function.replace("_", "-")
    return ""


class _Commands(click.Group):
    """Imports a command when it is called, and shows the settings below the commands.

    Turns what a command cannot get past into one line and exit code 1.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Name the commands."""
        return sorted(_declared())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        declared = _declared().get(cmd_name)
        if declared is None:
            return None
        command: click.Command = getattr(import_module(f"{__package__}.{declared.module}"), declared.function)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what their sources say, and import none."""
        told = {name: click.Command(name, help=one.help) for name, one in _declared().items()}
        click.Group(commands=told).format_commands(ctx, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LabelLoopError as error:
            raise _told(error, ctx.invoked_subcommand) from error
        except (ImportError, OSError, UnicodeDecodeError) as error:
            told = error_line(error)
            if not told:
                raise
            _log.debug("%s", told, exc_info=True)
            raise click.ClickException(told) from error

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Settings (environment variables)"):
            formatter.write_dl([(row["name"], f"{row['help']} [{row['default']}]") for row in settings_table()])


def settings_table() -> list[dict[str, str]]:
    """List all settings as name, default and help, for the CLI's help and the docs."""
    return [
        {
            "name": entry.metadata["name"],
            "default": ",".join(entry.default) if isinstance(entry.default, tuple) else str(entry.default),
            "help": entry.metadata["help"],
        }
        for entry in fields(Settings)
    ]


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Pre-annotate in Label Studio, learn from corrections, retrain, promote what is not measured to be worse."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A label may hold what no encoding can write, half a surrogate pair for one.
        sys.stdout.reconfigure(errors="backslashreplace")
    name = ctx.invoked_subcommand
    try:
        if name in _TOLERANT:
            settings, ctx.meta["labelloop.faults"] = Settings.read()
        else:
            settings = Settings.from_environment()
        start_logging(settings.log_level, settings.log_format)
    except LabelLoopError as error:
        raise _told(error, name) from error
    if name in _PROCESSES:
        warn_of_unknown(os.environ)
    ctx.obj = settings
    if name not in _WITHOUT_HUB:
        from labelloop.loop.process import open_hub

        ctx.obj = open_hub(settings)


def _told(error: LabelLoopError, command: str | None) -> click.ClickException:
    never = isinstance(error, SettingsError | UnsafeStore) and command in _RESTARTED
    return (_Impossible if never else click.ClickException)(str(error))


def error_line(error: Exception) -> str | None:
    """Give the line that a person is told; None for what is a fault of this program, and for a reader that has left."""
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("labelloop"):
        return _missing(error.name.partition(".")[0])
    if isinstance(error, UnicodeDecodeError):
        return f"a file that should be text is none ({error}): save it as UTF-8, or name another one"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, BrokenPipeError):
        remedy = _REMEDIES.get(error.errno, "Check that it can be read and written, and call the command again")
        return f"{_place(error)}{error.strerror or error}. {remedy}"
    return None


def _place(error: OSError) -> str:
    named = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"{' -> '.join(named)}: " if named else ""


def _missing(module: str) -> str:
    package = _MODULES.get(module, module)
    extra = _extra(package)
    needed = f"labelloop[{extra}]" if extra else package
    return f"this command needs the package {package}, which is not installed: pip install '{needed}'"


def _extra(package: str) -> str:
    """Name the extra of LabelLoop that brings a package; empty where none does, or LabelLoop is not installed."""
    try:
        needs = requires("labelloop") or []
    except PackageNotFoundError:
        return ""
    for need in needs:
        name, _, condition = need.partition(";")
        if name.lower().startswith(package.lower()) and "extra ==" in condition:
            return condition.rpartition("==")[2].strip().strip("\"'")
    return ""
