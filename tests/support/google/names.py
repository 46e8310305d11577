"""Names, ids, labels and masks, checked as Google's services do."""

import re
import secrets
from collections.abc import Iterable, Mapping

from labelloop.types import Json
from support.google.wire import Call, Refused, failed, invalid, violation

_LABEL = r"[a-z0-9_\-\u00e0-\uffff]"


def new_id(digits: int = 19) -> str:
    """Make an id as Vertex AI does: a number."""
    return str(secrets.randbelow(9 * 10 ** (digits - 1)) + 10 ** (digits - 1))


def check_labels(labels: Mapping[str, str]) -> None:
    """Refuse labels that no resource of Google Cloud may have (Resource Manager, "Requirements for labels")."""
    if len(labels) > 64:
        raise invalid("A resource may have at most 64 labels.")
    for key, value in labels.items():
        if not re.fullmatch(rf"[a-z\u00e0-\uffff]{_LABEL}{{0,62}}", key) or not re.fullmatch(
            rf"{_LABEL}{{0,63}}", value
        ):
            raise invalid(
                f"Invalid label {key!r}: {value!r}. Keys and values may have at most 63 characters: lowercase letters, "
                "digits, underscores and dashes; keys begin with a letter."
            )


def check_display_name(name: str) -> None:
    """Refuse one that is too long."""
    if len(name) > 128:
        raise invalid("The display name can be up to 128 characters long.")


def check_id(what: str, name: str, pattern: str) -> str:
    """Refuse an id that was chosen against the rules."""
    if not re.fullmatch(pattern, name):
        raise invalid(f"{what} {name!r} is invalid: it has to match {pattern}")
    return name


MODEL_ID = r"[a-z_][a-z0-9_-]{0,62}"
ENDPOINT_ID = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?|[1-9][0-9]{0,8}"
DEPLOYED_ID = r"[0-9]{1,10}"
ALIAS = r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]"
PIPELINE_JOB_ID = r"[a-z][-a-z0-9]{0,127}"


def only_query(call: Call, *names: str) -> None:
    """Refuse parameters of a query that an operation does not take."""
    for name in call.request.args:
        if name not in (*names, "alt", "prettyPrint", "fields", "key", "quotaUser", "$alt"):
            raise violation(
                name,
                f"Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter. Field '{name}' "
                "could not be found in request message.",
            )


def masked(mask: str, content: Json, allowed: Iterable[str]) -> Json:
    """Give what of a message an update mask names; raises Refused for what may not be changed, and for no mask."""
    if not mask:
        raise invalid("Required field is not set: update_mask")
    names = [re.sub(r"_(\w)", lambda found: found[1].upper(), one.strip()) for one in mask.split(",")]
    wrong = next((one for one in names if one not in allowed), None)
    if wrong is not None:
        raise invalid(f"Field {wrong!r} in the update mask cannot be updated, or there is none.")
    return {name: content.get(name) for name in names}


def check_split(split: Mapping[str, int], deployed: Iterable[str]) -> None:
    """Refuse a traffic split that does not add up to 100, or names what is not deployed."""
    there = set(deployed)
    strange = next((one for one in split if one not in there), None)
    if strange is not None:
        raise invalid(f"Traffic split names the deployed model {strange}, which the endpoint does not have.")
    if any(share < 0 for share in split.values()) or (split and sum(split.values()) != 100):
        raise invalid(f"Traffic percentages must add up to 100, and these add up to {sum(split.values())}.")


def check_etag(given: str | None, there: str) -> None:
    """Refuse to change what has changed meanwhile."""
    if given and given != there:
        raise Refused("ABORTED", f"The etag {given} is not that of the resource, {there}: it has changed meanwhile.")


def check_machine(spec: Json) -> None:
    """Refuse machines and accelerators that do not go together (Vertex AI, "Configure compute resources")."""
    machine, gpu = spec.get("machineType", ""), spec.get("acceleratorType", "")
    count = spec.get("acceleratorCount", 0)
    if not re.fullmatch(r"[a-z]\d+[a-z]?-[a-z]+(-\d+)?g?(-[a-z]+)?", machine):
        raise invalid(f"Machine type {machine!r} is not supported.")
    if gpu in ("", "ACCELERATOR_TYPE_UNSPECIFIED"):
        if count:
            raise invalid("accelerator_count is set, and accelerator_type is not.")
        return
    if count < 1 or count not in (1, 2, 4, 8, 16):
        raise invalid(f"{count} accelerators of type {gpu} are not supported for machine type {machine}.")
    family = next((family for pattern, family in _FAMILIES.items() if re.fullmatch(pattern, gpu)), "")
    if family and not machine.startswith(family):
        raise failed(f"Accelerator type {gpu} is not supported for machine type {machine}.")


_FAMILIES = {
    r"NVIDIA_TESLA_(K80|P100|V100|P4|T4)": "n1-",
    r"NVIDIA_L4": "g2-",
    r"NVIDIA_TESLA_A100|NVIDIA_A100_80GB": "a2-",
    r"NVIDIA_H100.*|NVIDIA_H200.*": "a3-",
}
"""Which machines an accelerator goes into."""
