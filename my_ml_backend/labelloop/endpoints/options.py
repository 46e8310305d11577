"""The part of an endpoint's address after ``?``."""

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlsplit

from labelloop.errors import SettingsError


def address_options(address: str, known: Sequence[str], example: str) -> dict[str, str]:
    """Read the options; raises SettingsError for one that is unknown, empty or given twice."""
    pairs = parse_qsl(urlsplit(address).query, keep_blank_values=True)
    options = dict(pairs)
    unknown = [name for name in options if name not in known]
    if unknown:
        raise SettingsError(
            f"LABELLOOP_ENDPOINT: {example.partition('://')[0]}:// knows no option {unknown[0][:40]!r}. "
            f"Possible are {', '.join(known)}: {example}"
        )
    wrong = next((name for at, (name, value) in enumerate(pairs) if not value or name in dict(pairs[:at])), None)
    if wrong is not None:
        raise SettingsError(f"LABELLOOP_ENDPOINT: the option {wrong} of {example} needs one value")
    return options
