"""The logger class of gunicorn: what it has to say stands among the messages of our own, in their form."""

from gunicorn.config import Config  # type: ignore[import-untyped]
from gunicorn.glogging import Logger  # type: ignore[import-untyped]


class FrontLogger(Logger):  # type: ignore[misc]
    """Hands errors on to the process's own handler (labelloop/logs.py). There is no access log: metrics tell of it."""

    def setup(self, cfg: Config) -> None:
        """Take away the handlers that gunicorn gives itself."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
