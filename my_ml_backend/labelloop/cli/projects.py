"""Which project a command is about: one of Label Studio by its number, a model run of Labelbox by its id and type."""

import click

from labelloop.labelbox.model_types import find_type
from labelloop.loop.hub import Hub
from labelloop.loop.process import hub_of, named_project
from labelloop.types import ProjectKey


class StudioProject(click.IntRange):
    """A project of Label Studio, by its number."""

    def __init__(self) -> None:
        super().__init__(1)

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Give the number; of a model run it says that the command takes none."""
        if isinstance(value, str) and not value.removeprefix("-").isdecimal():
            self.fail(
                f"{value!r} is no number of a project of Label Studio: this command takes no model run of Labelbox",
                param,
                ctx,
            )
        return super().convert(int(value), param, ctx)


project_option = click.option(
    "--project", "project_id", type=StudioProject(), required=True, help="Label Studio's project id."
)


class AnyProject(click.ParamType[int]):
    """A project of Label Studio, by its number, or a model run of Labelbox: RUN/TYPE, or RUN where it has one type.

    Of a model run, the command works with the hub of that from here on, where the number is the type's.
    """

    name = "project"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Give the number."""
        if isinstance(value, int) or value.isdecimal():
            return click.IntRange(1).convert(int(value), param, ctx)
        if ctx is None:
            self.fail("a model run is named to a command alone", param, ctx)
        hub: Hub = ctx.obj
        try:
            project = _model_run(hub, value)
        except ValueError as error:
            self.fail(f"{error}. Name a project of Label Studio by its number, a model run as RUN/TYPE", param, ctx)
        ctx.obj = hub_of(hub, project)
        return project.id


def _model_run(hub: Hub, text: str) -> ProjectKey:
    """Read ``RUN/TYPE`` or ``RUN``; raises ValueError saying what is wrong with it."""
    run, _, named = text.partition("/")
    folder = ProjectKey.of_model_run(run, 0).instance
    if named:
        known = find_type(named)
        number = known.number if known else int(named) if named.isdecimal() else 0
    else:
        there = [int(name) for name in hub.store.names(f"{folder}/") if name.isdecimal()]
        number = there[0] if len(there) == 1 else 0
    if not number:
        types = ", ".join(named_project(ProjectKey(folder, int(one))) for one in sorted(hub.store.names(f"{folder}/")))
        raise ValueError(f"{text!r} names no type of that model run; the store has {types or 'none of it'}")
    return ProjectKey(folder, number)


any_project_option = click.option(
    "--project",
    "project_id",
    type=AnyProject(),
    required=True,
    help="Label Studio's project id, or RUN/TYPE of a model run of Labelbox.",
)
