"""Versions into a Lambda function, by alias: ``lambda://FUNCTION?region=&alias=live`` (docs/deployers.md).

    bundle in S3 > configuration and image > published version, tested > alias, first for a share of the calls

Nothing is kept beside what AWS knows: descriptions say which version is meant, and since when a canary runs.
"""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Self
from urllib.parse import urlsplit

from labelloop.cloud.aws.account import Account
from labelloop.cloud.aws.functions import AliasState, Function, FunctionState
from labelloop.cloud.aws.hosting import ringing, without_alarm
from labelloop.cloud.aws.objects import Folder, location_of
from labelloop.cloud.names import NOBODY, Names
from labelloop.deployers.aws import alarms_of, require_aws
from labelloop.deployers.base import (
    KEPT,
    Deployable,
    Deployed,
    EndpointTest,
    bundle_hash,
    refusals,
    require_network,
)
from labelloop.endpoints.spec import address_options, whole_numbers
from labelloop.errors import SettingsError
from labelloop.models.bundle import DESCRIPTION, RECORD, check_bundle, served_by
from labelloop.models.records import now
from labelloop.settings import Settings
from labelloop.types import Json, ProjectKey

EXAMPLE = "lambda://FUNCTION?region=eu-west-1"

_LIMITS = {"memory": (512, 10240), "storage": (512, 10240), "timeout": (1, 900), "canary": (1, 99), "wait": (0, 86400)}
_OPTIONS = ("region", "alias", *_LIMITS, "alarms", "url", "role")


@dataclass(frozen=True, slots=True)
class FunctionTarget:
    """A function to bring versions to.

    ``memory`` and ``storage`` (of /tmp) are in MB, ``timeout`` in seconds. A new version gets ``canary`` percent of the
    calls for ``wait`` seconds, all at once with 0; ``alarms`` (CloudWatch) take it back. ``url`` says who may call the
    function's URL: who may invoke it (``iam``), everybody (``public``); with ``none`` it gets no URL.
    """

    function: str
    region: str = ""
    alias: str = "live"
    memory: int = 3008
    storage: int = 1024
    timeout: int = 30
    canary: int = 0
    wait: int = 300
    alarms: tuple[str, ...] = ()
    url: str = "iam"
    role: str = ""

    @classmethod
    def parse(cls, address: str) -> Self:
        """Read an address; raises SettingsError naming the option that is wrong."""
        parts, given = urlsplit(address), address_options(address, _OPTIONS, EXAMPLE, "a deployer's address")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", parts.netloc) or parts.path.strip("/"):
            raise SettingsError(f"a deployer's address names a function after lambda://: {EXAMPLE}")
        told: Json = given | whole_numbers(f"lambda://{parts.netloc}", given, _LIMITS)
        _check(parts.netloc, given)
        return cls(parts.netloc, **(told | {"alarms": alarms_of(given)}))

    def address(self, number: str) -> str:
        """Give the address by which one published version is asked."""
        return f"lambda://{self.function}?" + (f"region={self.region}&" if self.region else "") + f"alias={number}"


def _check(function: str, given: dict[str, str]) -> None:
    if not re.fullmatch(r"(?!\d+$)[a-zA-Z0-9_-]{1,128}", given.get("alias", "live")):
        raise SettingsError(f"lambda://{function}: alias is a name such as live, and no number")
    if given.get("url", "iam") not in ("iam", "public", "none"):
        raise SettingsError(f"lambda://{function}: url is iam, public or none")


class FunctionDeployer:
    """Brings the versions of one project to one alias of one function. Makes no call before it is asked something."""

    tells = True

    def __init__(
        self, target: FunctionTarget, settings: Settings, project: ProjectKey | None, test: EndpointTest
    ) -> None:
        self._target, self._settings, self._test = target, settings, test
        self._names = Names(project or NOBODY)
        self._role = target.role or settings.aws_role
        self.name = f"lambda://{target.function}"

    @cached_property
    def _function(self) -> Function:
        return Function(Account(self._target.region), self._target.function)

    def check(self) -> str:
        """Look whether all is named that a deployment needs, and at the function."""
        require_aws(self.name, self._settings, self._role)
        with refusals():
            self._folder().check()
            lacks = without_alarm(self._function.account, self._target.alarms)
            if self._function.alias(self._target.alias) is None:
                return f"{self.name} has no alias {self._target.alias} yet: the first deployment makes it{lacks}"
            stands, url = self.state(), self._function.url(self._target.alias)
        told = " or ".join(stands.between) or stands.version or "no version of this project"
        return f"{self.name}: {told} serves" + (f", also at {url}" if url else "") + lacks

    def deploy(self, version: Deployable) -> Deployed:
        """Hand the version over to Lambda, and go on as far as that goes at once."""
        require_aws(self.name, self._settings, self._role)
        require_network(self.name, version)
        with refusals():
            name = self._name(version)
            self._upload(version, name)
            self._begin(name)
            return self.go_on(version)

    def go_on(self, version: Deployable) -> Deployed:
        """Publish it when it is made, test it, then let the alias lead to it."""
        with refusals():
            name = self._name(version)
            published = self._published(name) or self._publish(name)
            if published.busy:
                return self._between(version)
            if not published.ready:
                return self._failed(f"function {self._target.function}: {published.reason or 'AWS says not why'}")
            return self._led(published.number, name, version)

    def state(self) -> Deployed:
        """Say where the alias leads, by what Lambda's versions are called."""
        with refusals():
            alias = self._function.alias(self._target.alias)
            return self._told(alias) if alias else Deployed(absent=True)

    def rollback(self, version: Deployable) -> Deployed:
        """Let the alias lead back to a version that Lambda has still, at once, alarms or not."""
        with refusals():
            found = self._published(self._name(version))
            if found is None or not found.ready:
                return self.deploy(version)
            return self._take(found.number, found.note)

    # --- What a version is made into.

    def _folder(self) -> Folder:
        return Folder(self._function.account, f"{location_of(self._settings)}/deployed")

    def _name(self, version: Deployable) -> str:
        """Name a version by all that its function is made from."""
        return self._names.of(version.version, bundle_hash(version), self._settings.aws_inference_image, self._wanted())

    def _wanted(self, name: str = "") -> Json:
        """Say how the function is configured; what it is called names the version and its bundle."""
        environment = {
            "AIP_STORAGE_URI": f"{self._folder().uri}/{name}",
            "ENGINE": self._settings.engine,
            "MODEL_DIR": "/tmp/labelloop",  # noqa: S108 - the one folder that a function may write
        }
        return {
            "Description": name,
            "Role": self._role,
            "MemorySize": self._target.memory,
            "Timeout": self._target.timeout,
            "EphemeralStorage": {"Size": self._target.storage},
            "ImageConfig": {
                "EntryPoint": ["python", "-m", "awslambdaric"],
                "Command": ["labelloop.serve.function.handler"],
            },
            "Environment": {"Variables": environment},
        }

    def _upload(self, version: Deployable, name: str) -> None:
        """Copy what is served into S3, the description last: where it is, all of it is."""
        folder = self._folder().below(name)
        if folder.has(DESCRIPTION):
            return
        info = check_bundle(version.bundle)
        for file in sorted({*served_by(self._settings.engine)(info)} & info.files.keys()):
            folder.put_file(file, version.bundle / file)
        folder.put(RECORD, f'{{"version": "{version.version}"}}'.encode(), "application/json")
        folder.put_file(DESCRIPTION, version.bundle / DESCRIPTION)

    def _begin(self, name: str) -> None:
        """Have the function changed, unless it was; what an earlier attempt has left at the alias is taken away."""
        alias, published = self._function.alias(self._target.alias), self._published(name)
        if alias is not None:
            # A canary of another version is wanted no longer, and nobody would watch it.
            given_up = alias.other and (published is None or alias.other != published.number)
            if given_up or alias.note.startswith(f"{name} {_BACK}"):
                self._function.lead(self._target.alias, AliasState(alias.number, note="tried again"))
        if published is None:
            found = self._function.look()
            if found is None:
                self._function.create(self._settings.aws_inference_image, self._wanted(name))
            elif not found.busy and (found.note != name or not found.ready):
                self._function.configure(self._wanted(name))

    def _published(self, name: str) -> FunctionState | None:
        if self._function.look() is None:
            return None
        numbers = [one.number for one in self._function.versions() if one.note == name]
        return self._function.look(numbers[-1]) if numbers else None

    def _publish(self, name: str) -> FunctionState:
        """Take the steps to a published version; where Lambda needs its time for one, what is left is done later."""
        for _ in range(_STEPS):
            found = self._function.look()
            if found is None:
                break
            if found.busy or not found.ready:
                return found
            if found.note != name:
                self._function.configure(self._wanted(name))
            elif self._function.image() != self._settings.aws_inference_image:
                self._function.use_image(self._settings.aws_inference_image)
            else:
                return self._function.look(self._function.publish(name)) or found
        return FunctionState("", name, busy=False, ready=False, reason="it is gone, or somebody else changes it")

    # --- Where the alias leads.

    def _led(self, number: str, name: str, version: Deployable) -> Deployed:
        """Let the alias lead to a published version, after its test, and where it is asked for by way of a canary."""
        alias = self._function.alias(self._target.alias)
        if alias is not None and alias.number == number:
            return self._take(number, name) if alias.other else self._done(alias)
        if alias is not None and alias.other == number:
            return self._watched(alias, name, version)
        if alias is not None and alias.note.startswith(f"{name} {_BACK}"):
            return self._failed(alias.note.removeprefix(f"{name} "))
        if reason := self._hindrance(number, version):
            return self._failed(reason)
        if alias is None or not self._target.canary:
            return self._take(number, name)
        share = AliasState(alias.number, number, self._target.canary / 100, f"{name} {_SHARED} {now()}")
        self._function.lead(self._target.alias, share)
        return self._between(version)

    def _hindrance(self, number: str, version: Deployable) -> str:
        """Say why no call may be answered by a version; empty where they may."""
        if wrong := self._test(self._target.address(number), version.bundle):
            return f"version {number} of the function was tested before it got any call, and {wrong}"
        alarms = ringing(self._function.account, self._target.alarms)
        return f"no call was given to it, for in CloudWatch {_ring(alarms)}: look what serves now" if alarms else ""

    def _watched(self, alias: AliasState, name: str, version: Deployable) -> Deployed:
        """Take a canary back where an alarm rings, and give it all calls when its time is over."""
        if alarms := ringing(self._function.account, self._target.alarms):
            why = f"{_BACK}, for in CloudWatch {_ring(alarms)}"
            self._function.lead(self._target.alias, AliasState(alias.number, note=f"{name} {why}"))
            return self._failed(why)
        begun = _moment(alias.note, f"{name} {_SHARED} ")
        if begun is None:
            self._function.lead(self._target.alias, replace(alias, note=f"{name} {_SHARED} {now()}"))
        elif (datetime.now(UTC) - begun).total_seconds() >= self._target.wait:
            return self._take(alias.other, name)
        return self._between(version)

    def _take(self, number: str, name: str) -> Deployed:
        """Give a version all calls."""
        wanted = AliasState(number, note=f"{name} {_SERVES} {now()}")
        self._function.lead(self._target.alias, wanted)
        return self._done(wanted)

    def _between(self, version: Deployable) -> Deployed:
        stands = self.state()
        return replace(stands, between=tuple(dict.fromkeys(filter(None, (stands.version, version.version)))))

    def _failed(self, reason: str) -> Deployed:
        """Say that what served before serves on, and why."""
        return replace(self.state(), reason=reason)

    def _told(self, alias: AliasState) -> Deployed:
        versions = [self._version(number) for number in (alias.number, alias.other) if number]
        since = _moment(alias.note, f".* {_SERVES} ")
        between = tuple(dict.fromkeys(filter(None, versions))) if alias.other else ()
        return Deployed(versions[0], since.isoformat(timespec="seconds") if since else "", between)

    def _version(self, number: str) -> str:
        found = self._function.look(number)
        return self._names.version(found.note) if found else ""

    def _done(self, alias: AliasState) -> Deployed:
        """See to its URL, and clear away what older versions left, but for the last ones."""
        if self._target.url != "none":
            self._function.open_url(self._target.alias, public=self._target.url == "public")
        ours = [one for one in reversed(self._function.versions()) if self._names.version(one.note)]
        for one in [one for one in ours if one.number != alias.number][KEPT - 1 :]:
            # The version last: it is by this that its files are found.
            self._folder().below(one.note).remove()
            self._function.delete(one.number)
        return self._told(alias)


_STEPS = 4
_SHARED, _SERVES, _BACK = "is tried since", "serves since", "was taken back"


def _ring(alarms: list[str]) -> str:
    return f"{', '.join(alarms)} is in ALARM"


def _moment(note: str, before: str) -> datetime | None:
    """Read the moment that stands in a note; None where there is none."""
    found = re.fullmatch(f"{before}(.+)", note)
    try:
        return datetime.fromisoformat(found[1]) if found else None
    except ValueError:
        return None
