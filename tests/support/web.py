"""What the tests of the web process share."""

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

from flask.testing import FlaskClient
from PIL import Image

from labelloop.loop.hub import Hub
from labelloop.models.champion import ChampionPointer
from labelloop.web.app import create_app
from support.openapi import DescribedClient
from support.servers import Server

CONFIG = (
    '<View><Image name="image" value="$image"/><Choices name="label" toName="image">'
    '<Choice value="cat"/><Choice value="dog"/></Choices></View>'
)
SECRET = "the webhooks' secret"

MakeHub = Callable[..., Hub]


@contextmanager
def serving_pictures() -> Iterator[str]:
    """Serve a picture for every path that ends in ``.png``, 404 for every other; yields the address."""
    with Server(("127.0.0.1", 0), _Pictures) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Pictures(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        picture = io.BytesIO()
        Image.new("RGB", (8, 8), (len(self.path) % 256, 0, 0)).save(picture, "PNG")
        found = self.path.endswith(".png")
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(picture.getvalue() if found else b"")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def client_of(hub: Hub) -> FlaskClient:
    """Make the app over a hub, with a client to talk to it, which takes no answer that docs/openapi.yaml lacks."""
    from model import LabelLoop  # not before it is needed: label-studio-ml 2.x makes a file as it is imported

    app = create_app(hub.settings, hub, LabelLoop)
    app.test_client_class = DescribedClient
    return app.test_client()


def announce(hub: Hub, project: int, version: str = "v1") -> None:
    """Let a version be the project's champion, and announce it."""
    pointer = ChampionPointer(hub.store, hub.project(project))
    fence = pointer.take_fence()
    pointer.promote(version, fence)
    pointer.announce(version, fence)
    hub.state(hub.project(project)).announce(version)
