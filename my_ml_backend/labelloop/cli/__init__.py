"""The ``labelloop`` command: one file per family of commands, which ``main`` finds there."""

from labelloop.cli.main import main, settings_table

__all__ = ["main", "settings_table"]
