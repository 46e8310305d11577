"""How every process logs: to standard error, one line an event."""

import logging

from labelloop.errors import SettingsError

_CHATTY = ("boto3", "botocore", "httpcore", "httpx", "onnx_ir", "rq", "s3transfer", "urllib3")
"""At INFO or DEBUG these tell every request with its whole address, and addresses of pictures carry signatures."""


def start_logging(level: str) -> None:
    """Log from ``level`` on; raises SettingsError for a level that does not exist."""
    if level.upper() not in logging.getLevelNamesMapping():
        raise SettingsError(f"LOG_LEVEL: {level!r} is none of DEBUG, INFO, WARNING, ERROR")
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
