"""A model run of Labelbox as a tool: its projects are what is made of it, one for each entry of the menu."""

import threading
from collections.abc import Callable
from typing import ClassVar

from labelloop.labelbox.client import Labelbox
from labelloop.labelbox.site import LabelboxSite
from labelloop.settings import Settings
from labelloop.sources.media import Media
from labelloop.sources.urls import Home
from labelloop.types import ProjectKey


class LabelboxTool:
    """One model run, by its id. Safe to share between threads, not between processes; Labelbox is asked when needed."""

    needed: ClassVar[tuple[str, ...]] = ("labelloop.labelbox.sdk",)

    def __init__(self, settings: Settings, model_run: str) -> None:
        """Raises ValueError for what is no id of a model run."""
        self._settings, self._run = settings, model_run
        self.addresses = (ProjectKey.of_model_run(model_run, 0).instance,)
        self._making = threading.Lock()
        self._sites: dict[int, LabelboxSite] = {}
        self._made: Labelbox | None = None

    @property
    def home(self) -> Home | None:
        """None: its links are signed, and open without a token."""
        return None

    @property
    def client(self) -> Labelbox:
        """Its client; raises SettingsError without an API key."""
        with self._making:
            if self._made is None:
                self._made = Labelbox.of(self._settings)
            return self._made

    def site(self, project: int, media: Media, called_at: Callable[[], str | None]) -> LabelboxSite:  # noqa: ARG002
        """Give what is made of the model run by the entry of that number; nobody calls this LabelLoop for it."""
        return self.model_run(project, media)

    def model_run(self, project: int, media: Media) -> LabelboxSite:
        """Give the same: it is one for the whole process, which knows what was told and exported."""
        client = self.client
        with self._making:
            if project not in self._sites:
                key = ProjectKey.of_model_run(self._run, project)
                self._sites[project] = LabelboxSite(self._settings, client, media, key)
            return self._sites[project]

    def close(self) -> None:
        """Close the connections."""
        with self._making:
            for site in self._sites.values():
                site.close()
            self._sites.clear()
            if self._made is not None:
                self._made.close()
            self._made = None
