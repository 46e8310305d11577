"""``vertex://PROJECT/LOCATION/ENDPOINT?machine=&replicas=&canary=``: what an endpoint runs on, how traffic moves."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from labelloop.cloud.google.machines import unfit
from labelloop.endpoints.spec import address_options, whole_numbers
from labelloop.errors import SettingsError
from labelloop.types import Json

EXAMPLE = "vertex://PROJECT/LOCATION/ENDPOINT"

_OPTIONS = ("machine", "replicas", "gpu", "gpus", "canary", "wait", "dedicated", "account")
_LIMITS = {"gpus": (1, 16), "canary": (1, 99), "wait": (0, 86400)}
_ADDRESS = re.compile(r"([a-z0-9][\w.:-]*)/([a-z]+-[a-z]+\d+)/([a-z][a-z0-9-]{0,44}[a-z0-9]|[1-9]\d{0,18})/?", re.ASCII)
_FORMS = {
    "machine": (r"[a-z][a-z0-9-]+", "a machine type such as n1-standard-2"),
    "replicas": (r"[1-9]\d{0,3}(\.\.[1-9]\d{0,3})?", "a number of replicas, or a range such as 1..3"),
    "gpu": (r"[A-Z][A-Z0-9_]+", "a type of accelerator such as NVIDIA_TESLA_T4"),
    "dedicated": ("yes|no", "yes or no"),
    "account": (r"[\w.-]+@[\w.-]+", "the e-mail address of a service account"),
}
_MACHINE = "n1-standard-2"


@dataclass(frozen=True, slots=True)
class VertexTarget:
    """An endpoint to bring versions to, by its id; one that is a number has to be there.

    Between ``least`` and ``most`` machines serve a version. It gets ``canary`` percent of the traffic for ``wait``
    seconds, and all at once with 0. The first deployment makes a ``dedicated`` endpoint, or a shared one. Models run as
    ``account``, and where it is empty as that of the settings.
    """

    project: str
    location: str
    endpoint: str
    machine: str = _MACHINE
    least: int = 1
    most: int = 1
    gpu: str = ""
    gpus: int = 1
    canary: int = 0
    wait: int = 600
    dedicated: bool = True
    account: str = ""

    @classmethod
    def parse(cls, address: str) -> Self:
        """Read an address; raises SettingsError naming the option that is wrong."""
        parts, given = urlsplit(address), address_options(address, _OPTIONS, EXAMPLE, "a deployer's address")
        named = _ADDRESS.fullmatch(parts.netloc + parts.path)
        if named is None:
            raise SettingsError(
                f"a deployer's address is {EXAMPLE}: project, a region such as europe-west4, and the endpoint's number "
                "or a name for it, of at most 46 lower-case letters, digits and hyphens that begin with a letter"
            )
        shown = f"vertex://{'/'.join(named.groups())}"
        told: Json = dict(whole_numbers(shown, given, _LIMITS))
        for option, (form, what) in _FORMS.items():
            if option in given and not re.fullmatch(form, given[option], re.ASCII):
                raise SettingsError(f"{shown}: {option} is {what}")
        if "gpus" in given and "gpu" not in given:
            raise SettingsError(f"{shown}: gpus counts accelerators: name their type, gpu=NVIDIA_TESLA_T4")
        if wrong := unfit(given.get("machine", _MACHINE), given.get("gpu", "")):
            raise SettingsError(f"{shown}: {wrong}")
        told |= {name: given[name] for name in ("machine", "gpu", "account") if name in given}
        least, _, most = given.get("replicas", "1").partition("..")
        if int(most or least) < int(least):
            raise SettingsError(f"{shown}: replicas goes from the least to the most: {most}..{least}")
        told |= {"least": int(least), "most": int(most or least), "dedicated": given.get("dedicated", "yes") == "yes"}
        return cls(named[1], named[2], named[3], **told)

    @property
    def shown(self) -> str:
        """Name it without its options."""
        return f"vertex://{self.project}/{self.location}/{self.endpoint}"

    @property
    def is_number(self) -> bool:
        """Whether Google has given it its id."""
        return self.endpoint.isdecimal()

    def capacity(self, least: int, most: int) -> Json:
        """Say on what a version runs, as dedicatedResources of a DeployedModel has it."""
        machine: Json = {"machineType": self.machine}
        if self.gpu:
            machine |= {"acceleratorType": self.gpu, "acceleratorCount": self.gpus}
        return {"machineSpec": machine, "minReplicaCount": least, "maxReplicaCount": most}

    def address(self, endpoint: str, dns: str) -> str:
        """Give the address by which an endpoint like this one is asked."""
        dedicated = f"?dedicated={dns}" if dns else ""
        return f"vertex://{self.project}/{self.location}/{endpoint}{dedicated}"
