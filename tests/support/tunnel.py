"""A proxy that digs tunnels (CONNECT), to where it is asked to or to one place whatever it is asked."""

import select
import socket

from support.misbehaving import Exchange, Reply


def tunnel(exchange: Exchange) -> None:
    """Be a proxy: connect to what CONNECT names, and pass on what comes from either side."""
    host, _, port = exchange.request.line.split()[1].rpartition(":")
    _pass_on(exchange, (host, int(port)))


def tunnel_to(port: int) -> Reply:
    """Be a proxy that leads to a port of this machine, whichever host is named."""
    return lambda exchange: _pass_on(exchange, ("127.0.0.1", port))


def _pass_on(exchange: Exchange, where: tuple[str, int]) -> None:
    with socket.create_connection(where) as server:
        exchange.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        sides = {server: exchange.connection, exchange.connection: server}
        while not exchange.ending.is_set():
            for side in select.select(list(sides), [], [], 0.05)[0]:
                content = side.recv(65536)
                if not content:
                    exchange.connection.shutdown(socket.SHUT_RDWR)
                    return
                sides[side].sendall(content)
