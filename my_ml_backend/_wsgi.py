"""Where Label Studio's tools look for the web process.

Under gunicorn (``gunicorn --chdir my_ml_backend _wsgi:app``) this is the web process alone. As a script
(``python my_ml_backend/_wsgi.py -p 9090``, which is what ``label-studio-ml start my_ml_backend`` calls) it runs all
that one machine needs: Redis, inference, worker and web.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from labelloop.children import launcher_is_gone
from labelloop.errors import LabelLoopError
from labelloop.kinds.base import kinds
from labelloop.logs import start_logging
from labelloop.loop.process import open_hub, process_hub
from labelloop.loop.startup import (
    check_training,
    keep_private,
    refuse_impossible,
    trains_here,
    warn_of_unknown,
)
from labelloop.serve.engines.opening import check_engine
from labelloop.settings import Settings
from labelloop.supervise import Supervisor
from labelloop.trainers.foreign import learner
from labelloop.web.credentials import BasicAuth
from labelloop.web.machine import address, machine_services, warn_of_doubts


def main(arguments: Sequence[str]) -> int:
    """Run everything until SIGTERM or SIGINT; returns the exit status."""
    is_over = launcher_is_gone("label-studio-ml", "start")  # which passes no signal on and waits for nothing
    given = _parser().parse_args(arguments)
    environment = {**os.environ, **_overrides(given)}
    try:
        settings = Settings.from_environment(environment)
        start_logging(settings.log_level)
        _refuse(settings)
        warn_of_unknown(environment)
        warn_of_doubts(settings)
        keep_private(settings.directory)
        if given.check:
            _check(settings)
        services = machine_services(settings, environment)
        print(f"LabelLoop is starting at http://{address(settings.host, settings.port)}; Ctrl-C ends it", flush=True)  # noqa: T201
        Supervisor(services, is_over=is_over).run()
    except LabelLoopError as error:
        print(f"labelloop: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _refuse(settings: Settings) -> None:
    """Raise LabelLoopError for what can never work, as far as it shows without loading torch."""
    BasicAuth(settings.basic_auth_user, settings.basic_auth_pass)
    refuse_impossible(open_hub(settings))
    check_engine(settings.engine)
    if trains_here(settings):
        for kind in kinds():
            learner(kind, settings).hyperparameters(settings)


def _check(settings: Settings) -> None:
    """Make the web process's app and one LabelLoop before anything is started, so that what is wrong shows at once."""
    from labelloop.web.app import create_app
    from model import LabelLoop

    hub = open_hub(settings)
    create_app(settings, hub, LabelLoop)
    LabelLoop(hub=hub)
    if trains_here(settings):
        check_training(settings)
    print("LabelLoop can be made with these settings", flush=True)  # noqa: T201


def _overrides(given: argparse.Namespace) -> dict[str, str]:
    """Turn flags into the settings they stand for; a flag that was not given changes nothing."""
    named = {
        "HOST": given.host,
        "PORT": given.port,
        "LOG_LEVEL": "DEBUG" if given.debug else given.log_level,
        "MODEL_DIR": given.model_dir,
        "BASIC_AUTH_USER": given.basic_auth_user,
        "BASIC_AUTH_PASS": given.basic_auth_pass,
    }
    return {name: str(value) for name, value in named.items() if value is not None}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="_wsgi.py",
        description="Run LabelLoop on this machine: Redis, inference, worker and web. Everything else is set in the "
        "environment (docs/settings.md).",
    )
    parser.add_argument("-p", "--port", type=int, help="port of the web process (PORT, 9090)")
    parser.add_argument("--host", help="address it listens on (HOST, 0.0.0.0)")
    parser.add_argument("-d", "--debug", action="store_true", help="log everything (LOG_LEVEL=DEBUG)")
    parser.add_argument("--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"], help="LOG_LEVEL")
    parser.add_argument("--model-dir", help="folder for caches, the default store and Redis (MODEL_DIR)")
    parser.add_argument("--check", action="store_true", help="make the backend once before anything is started")
    parser.add_argument("--basic-auth-user", help="user Label Studio must send (BASIC_AUTH_USER)")
    parser.add_argument("--basic-auth-pass", help="its password (BASIC_AUTH_PASS)")
    parser.add_argument(
        "--kwargs",
        "--with",
        metavar="KEY=VAL",
        nargs="+",
        help="taken for label-studio-ml's sake; LabelLoop's settings come from the environment",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
else:
    from labelloop.web.app import create_app, warm_up
    from model import LabelLoop

    try:
        _hub = process_hub()
        start_logging(_hub.settings.log_level)
        app = create_app(_hub.settings, _hub, LabelLoop)
    except LabelLoopError as error:
        print(f"labelloop: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(3)  # by which gunicorn knows that another try would be in vain
    warm_up(_hub)
