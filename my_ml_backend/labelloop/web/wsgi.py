"""What gunicorn imports: the web process's app, over the hub of this process's environment."""

import sys
import threading

from labelloop.errors import LabelLoopError
from labelloop.logs import start_logging
from labelloop.loop.process import process_hub
from labelloop.loop.watched import keep_watching
from labelloop.web.app import create_app
from labelloop.web.backend import backend_class

try:
    _hub = process_hub()
    start_logging(_hub.settings.log_level, _hub.settings.log_format)
    app = create_app(_hub.settings, _hub, backend_class())
    if _hub.settings.drift != "off":
        threading.Thread(target=keep_watching, args=(_hub, threading.Event()), name="watch", daemon=True).start()
except LabelLoopError as error:
    print(f"labelloop: {error}", file=sys.stderr)  # noqa: T201
    sys.exit(3)  # by which gunicorn knows that another try would be in vain
