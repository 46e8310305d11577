"""A threading HTTP server that takes as many connections at once as a test makes."""

from http.server import ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """The standard one holds 5 waiting connections; the sixth is dropped and tried again seconds later."""

    request_queue_size = 128
    daemon_threads = True
