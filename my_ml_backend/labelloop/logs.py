"""How every process logs: to standard error, one event a line, as text for people or as JSON for what collects it."""

import json
import logging
from datetime import UTC, datetime

from labelloop.tracing import DOING
from labelloop.types import ProjectKey

_CHATTY = ("boto3", "botocore", "httpcore", "httpx", "onnx_ir", "rq", "s3transfer", "urllib3")
"""At INFO or DEBUG these tell every request with its whole address, and addresses of pictures carry signatures."""

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """An object a line: time (RFC 3339, UTC), level, logger, message, then what is known of what was being done.

    That is ``trace``, ``project``, ``job`` and ``version`` (labelloop/tracing.py), and ``exception``, a traceback. A
    project that the message names goes before that of the job: a sweep looks at many.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write one event."""
        doing = DOING.get()
        told = {
            "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "trace": doing.trace,
            "project": _named(record) or doing.project,
            "job": doing.job,
            "version": doing.version,
            "exception": self._traceback(record),
        }
        return json.dumps({name: value for name, value in told.items() if value or name == "message"})

    def _traceback(self, record: logging.LogRecord) -> str:
        parts = (self.formatException(record.exc_info) if record.exc_info else "", record.stack_info or "")
        return "\n".join(filter(None, parts))


def _named(record: logging.LogRecord) -> str:
    """Give the project that a message is about."""
    given = record.args if isinstance(record.args, tuple) else ()
    return next((str(one) for one in given if isinstance(one, ProjectKey)), "")


def start_logging(level: str, form: str = "text") -> None:
    """Log from ``level`` on, a setting's value in any case, as ``text`` or ``json``."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # What Python warns of stands among the rest then, instead of as text of two lines.
    logging.captureWarnings(form == "json")
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
