"""A threading HTTP server that takes as many connections at once as a test makes, and ports for those of others."""

import atexit
import socket
from http.server import ThreadingHTTPServer


def free_port() -> int:
    """Give a port of 127.0.0.1 at which nobody listens, and which nobody else is given while this process lives.

    It is held by a socket that does not listen. Who sets SO_REUSEADDR, as servers do, may listen there all the same.
    """
    holding = socket.socket()
    atexit.register(holding.close)
    holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holding.bind(("127.0.0.1", 0))
    return int(holding.getsockname()[1])


class Server(ThreadingHTTPServer):
    """The standard one holds 5 waiting connections; the sixth is dropped and tried again seconds later."""

    request_queue_size = 128
    daemon_threads = True
