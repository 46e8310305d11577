"""What the text of a setting may be: readers by type, and checks that say what was expected instead.

Only the form is checked here, without touching disk or network: what the text names may lie on another machine.
"""

import difflib
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

Check = Callable[[Any], str]
"""Says what a value is not, as in ``a JSON object, such as {"top_k": 5}``; empty when it is well."""


def described(
    name: str,
    help: str,
    *,
    secret: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    options: bool = False,
    check: Check | None = None,
    fallbacks: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Describe one setting, as its field's metadata. ``fallbacks`` are variables that are read where its own is unset.

    ``choices`` are all values there are, but for what comes behind a colon where they take ``options``; ``check`` looks
    at what was read; one of both.
    """
    listed = "" if all(choice in help for choice in choices) else f" One of {', '.join(choices)}."
    if choices:
        check = partial(no_choice, choices=choices, options=options)
    limits = {"minimum": minimum, "maximum": maximum, "choices": choices, "check": check}
    return {"name": name, "help": help + listed, "secret": secret, "fallbacks": fallbacks, **limits}


def boolean(text: str) -> bool:
    """Read true or false in the usual spellings; raises KeyError for any other."""
    values = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    return values[text.strip().lower()]


def names(text: str) -> tuple[str, ...]:
    """Split at commas; empty names are left out."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


_NEXT_HEADER = re.compile(r";(?=[\s;]*[!#$%&'*+.^_`|~\w-]+:)", re.ASCII)


def headers(text: str) -> tuple[tuple[str, str], ...]:
    """Read ``Name: value; Name: value``; raises ValueError, which does not show them, for they hold secrets.

    A semicolon ends a value where another name follows, not in ``Accept: application/json;verbose``.
    """
    found = []
    for part in filter(None, (part.strip("; \t\r\n") for part in _NEXT_HEADER.split(text))):
        name, colon, value = part.partition(":")
        if not colon or not is_header(name, value.strip()):
            raise ValueError("expected Name: value, separated by semicolons")
        found.append((name, value.strip()))
    return tuple(found)


def is_header(name: str, value: str) -> bool:
    """Tell whether a header can have this name and value."""
    return re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+", name, re.ASCII) is not None and value.isprintable()


READERS: dict[type, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (float, "a number"),
    bool: (boolean, "true or false"),
    tuple: (names, "names separated by commas"),
}


_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]*:/+)([^?#]*@)?([^?#]*)(.*)", re.IGNORECASE | re.DOTALL)
"""Scheme, user information, place, and what follows it."""


def without_secrets(text: str) -> str:
    """Hide what an address may hold of secrets, however broken it is: user, password, query, fragment."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        return re.sub(r".*@", "***@", text, flags=re.DOTALL)
    scheme, user, place, rest = match.groups()
    return f"{scheme}{'***@' if user else ''}{place}{rest[:1] + '***' if rest else ''}"


def names_user(text: str) -> bool:
    """Whether an address holds a user's name or password."""
    match = _ADDRESS.fullmatch(text)
    return match is not None and match[2] is not None


def near(name: str, known: Sequence[str], cutoff: float = 0.6) -> str:
    """Give the known name that a misspelt one is nearest to; empty when none is near."""
    by_lower = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else ""


def no_choice(value: Any, choices: Sequence[str], *, options: bool = False) -> str:
    """Check one of ``choices``, or a list of them that is not empty; case counts, except where all are capitals.

    What comes behind a colon where they take ``options`` is left to whoever knows the choice.
    """
    given = value if isinstance(value, tuple) else (value.partition(":")[0] if options else value,)
    capitals = all(choice.isupper() for choice in choices)
    wrong = [one for one in given if (one.upper() if capitals else one) not in choices]
    if given and not wrong:
        return ""
    meant = near(wrong[0], choices) if wrong else ""
    which = "a list of" if isinstance(value, tuple) else "one of"
    return f"{which} {', '.join(choices)}" + (f" (did you mean {meant}?)" if meant else "")


def token(value: str) -> str:
    """Check what goes into a header as it is."""
    fine = value.isascii() and value.isprintable() and " " not in value
    return "" if fine else "a token: it holds spaces, line breaks or letters that no token has"


def host(value: str) -> str:
    """Check an address to listen on."""
    return "" if re.fullmatch(r"[\w.:%-]+", value) else "a host name or an IP address, such as 127.0.0.1"


def listening(value: str) -> str:
    """Check an address to listen on with its port; empty is none."""
    name, _, port = value.rpartition(":")
    fine = re.fullmatch(r"\[[\w.:%]+\]|[\w.%-]+", name) and re.fullmatch(r"\d{1,5}", port) and 0 < int(port) < 1 << 16
    return "" if not value or fine else "of the form host:port, such as 127.0.0.1:9092"


def web_address(value: str) -> str:
    """Check ``http://host:port/path``, of a server whose paths are ours to choose."""
    parts = _split(value)
    fine = parts is not None and parts[0] in ("http", "https") and parts[1] and not re.search(r"[?#\s]", value)
    return "" if not value or fine else "of the form http://host:port"


def hook_address(value: str) -> str:
    """Check an address that messages are posted to: it is whole, and may hold a key; empty is none."""
    parts = _split(value)
    fine = parts is not None and parts[0] in ("http", "https") and parts[1] and re.fullmatch(r"[!-~]+", value)
    if not value or (fine and "#" not in value and not names_user(value)):
        return ""
    return "a web address without user and password, such as https://host/path"


def site_address(value: str) -> str:
    """Check the address of Label Studio, which is called with a token and not as a user of the address."""
    if names_user(value) and not web_address(value):
        return "an address without user and password, such as http://host:port: a token is sent, LABEL_STUDIO_API_KEY"
    return web_address(value)


def link_address(value: str) -> str:
    """Check an address that people follow; empty is none."""
    return site_address(value) if value else ""


def store_address(value: str) -> str:
    """Check the address of a store; empty is the default one."""
    scheme, _, place = value.partition("://")
    in_bucket = scheme in ("s3", "gs") and _split(value) and not re.search(r"[@?#]", place) and place.strip("/")
    if not value or in_bucket:
        return ""
    if scheme == "file" and re.fullmatch(r"(localhost)?/+[^/?#].*", place) and not re.search(r"[?#]", place):
        return ""
    return (
        "a store address: file:///folder, s3://bucket/prefix or gs://bucket/prefix, without user, password or options"
    )


def aws_role(value: str) -> str:
    """Check the ARN of a role; empty is none."""
    fine = not value or re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]{1,512}", value)
    return "" if fine else "the ARN of a role: arn:aws:iam::123456789012:role/NAME"


def aws_location(value: str) -> str:
    """Check a folder in S3; empty is the store's."""
    fine = not value or re.fullmatch(r"s3://[a-z0-9.-]{3,63}/[\w./!'()*-]+", value)
    return "" if fine else "a folder in S3: s3://bucket/prefix"


def google_account(value: str) -> str:
    """Check the e-mail address of a service account; empty is none."""
    fine = not value or re.fullmatch(r"[\w.-]+@[\w.-]+\.[a-z]+", value, re.ASCII)
    return "" if fine else "the e-mail address of a service account: NAME@PROJECT.iam.gserviceaccount.com"


def google_folder(value: str) -> str:
    """Check a folder in Cloud Storage; empty is the store's."""
    fine = not value or re.fullmatch(r"gs://[a-z0-9._-]{3,222}/[\w./!'()*-]+", value)
    return "" if fine else "a folder in Cloud Storage: gs://bucket/prefix"


def metrics_address(value: str) -> str:
    """Check where figures go; empty is nowhere."""
    fine = not value or re.fullmatch(
        r"cloudwatch://(?!AWS/)[\w./-]{1,255}(\?.*)?|cloud-monitoring://[a-z][a-z0-9.:-]{4,98}", value, re.ASCII
    )
    return "" if fine else "a place for figures: cloudwatch://NAMESPACE?region=eu-west-1, or cloud-monitoring://PROJECT"


def endpoint_address(value: str) -> str:
    """Check the kind of an endpoint's address; what its kind asks for is looked at when it is opened."""
    scheme, mark, place = value.partition("://")
    web = scheme.lower() in ("http", "https")
    if (mark and scheme.lower() == "fake") or (
        scheme.lower() in ("sagemaker", "lambda", "vertex") and place.strip("/")
    ):
        return ""
    parts = _split(value)
    if web and parts is not None and parts[1] and not re.search(r"\s", value):
        return ""
    return (
        "an endpoint's address: http://host:port (an inference container), http://host/path (any server), "
        "sagemaker://NAME, lambda://FUNCTION, vertex://PROJECT/LOCATION/ENDPOINT or fake://?classes=cat,dog"
    )


def bootstrap_address(value: str) -> str:
    """Check the kind of the bootstrap endpoint's address; empty is none."""
    return endpoint_address(value) if value else ""


def trainer_address(value: str) -> str:
    """Check the kind of a trainer's address; what its kind asks for is looked at when it is opened."""
    if value == "local" or _is_command(value) or re.match(_ELSEWHERE, value):
        return ""
    return (
        "a trainer: local, command:./train.sh, sagemaker-pipeline://NAME?region=R, vertex-job://PROJECT/LOCATION, "
        "vertex-pipeline://PROJECT/LOCATION?template=T or vertex-automl://PROJECT/LOCATION"
    )


_ELSEWHERE = r"sagemaker-pipeline://[^/?#]|vertex-(job|pipeline|automl)://[^/?#]+/[^/?#]"


def deployer_address(value: str) -> str:
    """Check the kind of a deployer's address; empty is none."""
    fine = not value or _is_command(value) or re.match(r"(sagemaker|lambda|vertex)://[^/?]", value)
    known = "command:./deploy.sh, sagemaker://ENDPOINT, lambda://FUNCTION or vertex://PROJECT/LOCATION/ENDPOINT"
    return "" if fine else f"a deployer: {known}"


def registry_address(value: str) -> str:
    """Check the kind of a registry's address; empty is none."""
    aws, google = r"sagemaker://[A-Za-z0-9](-*[A-Za-z0-9]){0,39}(\?.*)?", r"vertex://[a-z0-9][\w.:-]*/[a-z0-9-]+"
    fine = not value or re.fullmatch(f"{aws}|{google}", value, re.ASCII)
    told = "a registry: sagemaker://PREFIX?region=R, its prefix of at most 40 letters, digits and -, or vertex://P/LOCATION"
    return "" if fine else told


def events_address(value: str) -> str:
    """Check the kind of a queue's address; empty is none."""
    fine = not value or re.fullmatch(
        r"sqs://[A-Za-z0-9_-]{1,80}(\.fifo)?(\?.*)?|pubsub://[a-z][a-z0-9.:-]{4,98}/[A-Za-z][\w.~+%-]{2,254}", value
    )
    return "" if fine else "a queue of events: sqs://QUEUE?region=R, or pubsub://PROJECT/SUBSCRIPTION"


_BEGINNING = re.compile(r"local$|command:|(sagemaker(-pipeline)?|lambda|vertex(-job|-pipeline|-automl)?)://")


def whole_addresses(listed: Sequence[str]) -> tuple[str, ...]:
    """Put trainers or deployers together again that were cut at the commas between their verbs, or alarms."""
    found: list[str] = []
    for part in listed:
        if found and not _BEGINNING.match(part):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return tuple(found)


def _is_command(value: str) -> bool:
    return value.startswith("command:") and bool(value.removeprefix("command:").partition("?")[0].strip())


def redis_address(value: str) -> str:
    """Check ``embedded`` or an address that redis-py takes."""
    parts = _split(value)
    if value == "embedded" or (parts is not None and parts[0] in ("redis", "rediss") and parts[1]):
        return ""
    return "" if re.fullmatch(r"unix://.*/.+", value) else "embedded, or of the form redis://host:port/db"


def graphql_address(value: str) -> str:
    """Check the address of Labelbox's API, which the SDK takes apart at ``/graphql``."""
    fine = value and not site_address(value) and "/graphql" in value.partition("://")[2]
    return "" if fine else "an address with /graphql in it, without user and password: https://api.labelbox.com/graphql"


def hmac_secret(value: str) -> str:
    """Check a secret that requests are signed with: every letter counts, and one too many is easily copied along."""
    fine = value.isprintable() and value == value.strip()
    return "" if fine else "a secret: it begins or ends with a space or holds a line break"


def labelbox_id(value: str) -> str:
    """Check an id of Labelbox's; empty is none."""
    fine = re.fullmatch(r"([0-9A-Za-z][0-9A-Za-z-]{7,63})?", value)
    return "" if fine else "an id of Labelbox: 8 to 64 letters, digits and -, as in the address of its page"


def vertex_place(value: str) -> str:
    """Check a project and a location of Vertex AI; empty is none."""
    fine = re.fullmatch(r"([a-z0-9][\w.:-]*/[a-z][a-z0-9-]+)?", value, re.ASCII)
    return "" if fine else "PROJECT/LOCATION, for example my-project/europe-west4"


def header_lines(value: str) -> str:
    """Check the endpoint's headers."""
    try:
        headers(value)
    except ValueError:
        return "of the form Name: value, separated by semicolons"
    return ""


def json_object(value: str) -> str:
    """Check the text of a JSON object; empty is none."""
    try:
        fine = not value or isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        fine = False
    return "" if fine else 'a JSON object, such as {"top_k": 5}'


def expression(value: str) -> str:
    """Check a JMESPath expression; empty is none."""
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        if value:
            jmespath.compile(value)
    except (JMESPathError, ValueError, RecursionError) as error:
        return f"a JMESPath expression ({str(error).splitlines()[0] or type(error).__name__})"
    return ""


def class_label_pairs(value: tuple[str, ...]) -> str:
    """Check ``class=label`` pairs."""
    pairs = [pair.partition("=") for pair in value]
    fine = all(sign and name.strip() and label.strip() for name, sign, label in pairs)
    return "" if fine else "class=label, separated by commas: cat=Cat,dog=Dog"


def bucket_addresses(value: tuple[str, ...]) -> str:
    """Check buckets and folders in them."""
    fine = all(one == "*" or re.fullmatch(r"(s3|gs)://[^/\s*]+(/[^\s*]*)?", one) for one in value)
    return "" if fine else "s3://bucket, gs://bucket/folder or *, separated by commas"


def name(value: str) -> str:
    """Check a name of timm's: of a network with its arguments, or of an optimizer."""
    return "" if value and not re.search(r"\s", value) and value.isprintable() else "a name of timm's"


def weights_source(value: str) -> str:
    """Check what a run's first weights are."""
    if value in ("pretrained", "none") or value.endswith(".safetensors"):
        return ""
    return (
        "pretrained, none, or the path of a .safetensors file: only safetensors files are read, for a pickled .pth or "
        ".bin can run code"
    )


def encoder(value: str) -> str:
    """Check a name of the hub, or a folder; empty is none."""
    fine = value.isprintable() and value == value.strip() and "://" not in value
    return "" if fine else "a name of the hub, such as organisation/name, or a folder"


def file_or(choices: Sequence[str], *endings: str) -> Check:
    """Check one of ``choices``, or a path that ends in one of ``endings``."""

    def check(value: str) -> str:
        if value in choices or value.endswith(endings):
            return ""
        meant = near(value, choices)
        hint = f" (did you mean {meant}?)" if meant else ""
        return f"one of {', '.join(choices)}{hint}, nor the path of a {' or '.join(endings)} file"

    return check


def _split(value: str) -> tuple[str, str] | None:
    """Give scheme and host; None for an address that cannot be parsed, with a port that is none for one."""
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018 - it is parsed when it is asked for
        return parts.scheme.lower(), parts.hostname or ""
    except ValueError:
        return None
