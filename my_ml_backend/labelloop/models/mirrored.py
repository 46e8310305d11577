"""What a registry was last seen to hold of a project's versions, and which word of a person there was carried out."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from labelloop.errors import Conflict
from labelloop.models.records import find_object, readable, to_bytes, update
from labelloop.models.store import Store
from labelloop.types import ProjectKey


@dataclass(frozen=True, slots=True)
class Mirrored:
    """``registry.json``: the registry's name, and its packages by name, each with version and status.

    A package whose version is empty is none of ours; one whose status is ``gone`` was deleted there. ``mark`` says how
    the store stood when the two agreed, and ``unpublished`` are versions that had no record then. ``request`` is the
    last word of a person that moved the champion, and ``fence`` the right under which it was carried out: written
    before, so that nothing is done twice. ``crowned`` is the package that we have marked
    as the champion's, and while that is done the one before, too.
    """

    registry: str = ""
    packages: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    mark: str = ""
    unpublished: tuple[str, ...] = ()
    request: str = ""
    fence: int = 0
    crowned: tuple[str, ...] = ()


class Mirrors:
    """Reads and moves one project's ``registry.json``, by compare-and-swap only.

    What is damaged counts as not there: the registry itself says the rest.
    """

    def __init__(self, store: Store, project: ProjectKey) -> None:
        self._store, self._path = store, f"{project}/registry.json"
        self._tag: str | None = None

    def read(self, registry: str) -> Mirrored:
        """Read what is known of a registry; nothing, where another one was mirrored to."""
        found = find_object(self._store, self._path)
        self._tag = found.tag if found else None
        held = readable(Mirrored, found.content, self._path) if found else None
        if held is None or held.registry != registry:
            return Mirrored(registry)
        packages = {name: (str(version), str(status)) for name, (version, status) in held.packages.items()}
        return replace(held, packages=packages, unpublished=tuple(held.unpublished), crowned=tuple(held.crowned))

    def forget(self) -> None:
        """Let the next look compare all that there is: something has changed that moves no pointer."""

        def change(content: bytes | None) -> bytes | None:
            held = None if content is None else readable(Mirrored, content, self._path)
            return to_bytes(replace(held, mark="")) if held is not None and held.mark else None

        update(self._store, self._path, change)

    def write(self, mirrored: Mirrored) -> None:
        """Replace what was read or written last; raises Conflict where another worker was quicker."""
        content = to_bytes(mirrored)
        if self._tag is None:
            self._store.create(self._path, content)
        else:
            self._store.swap(self._path, content, self._tag)
        held = self._store.read(self._path)
        if held.content != content:
            raise Conflict(f"{self._path} was changed by another worker: it goes on there")
        self._tag = held.tag
