"""A stand-in for what `gcloud` asks for when something is deployed to Cloud Run; the real gcloud is pointed at it.

It holds services, worker pools, secrets, buckets, service accounts, policies and Redis instances, and what was sent to
be built. gcloud puts the region before the host of Cloud Run's address, so the stand-in is its HTTP proxy: whatever the
host is called, it comes here, and no call leaves the machine.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlsplit

from support.google.gcloud_project import Call, GcloudStandIn, Refused
from support.google.gcloud_services import ROUTES
from support.google.worker_pools import tunnel, worker_pools


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: ClassVar[GcloudStandIn]

    def answer(self) -> None:
        address = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        service = (address.hostname or "").removesuffix(".stand-in").rpartition("-")[2]
        call = Call(service, self.command, unquote(address.path).rstrip("/"), dict(parse_qsl(address.query)), body)
        try:
            answered, code = self.cloud.answer(call), 200
        except Refused as error:
            code = error.code
            answered = {"error": {"code": code, "status": error.status, "message": str(error)}}
        content = json.dumps(answered).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - names of http.server's

    def do_CONNECT(self) -> None:
        """Lead to the worker pools, and let nothing out: what is not pointed at the stand-in asks for a tunnel, too."""
        self.close_connection = True
        if self.path.endswith("-run.stand-in:443"):
            self.send_response(200)
            self.end_headers()
            tunnel(self.connection, self.cloud.pools.port)
        else:
            self.cloud.proxied.append(self.path)
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def gcloud_stand_in(folder: Path) -> Iterator[GcloudStandIn]:
    """Run a stand-in for as long as the block lasts."""
    with worker_pools(folder) as pools, ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        cloud = GcloudStandIn(folder, pools, ROUTES)
        server.RequestHandlerClass = type("Handler", (_Handler,), {"cloud": cloud})
        cloud.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="gcloud stand-in")
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()
