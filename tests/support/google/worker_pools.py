"""Cloud Run's worker pools, which gcloud asks for by gRPC over TLS: through the proxy, by a certificate of its own.

Messages are kept as they came. What they say is read without their definitions: the texts in them, in order.
"""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REGIONS = ("europe-west4", "us-central1")

_SERVICE = "google.cloud.run.v2.WorkerPools"
_TYPE = b"type.googleapis.com/google.cloud.run.v2.WorkerPool"


@dataclass
class WorkerPools:
    """The pools by name, each as its last message; ``calls`` are the methods that were asked for."""

    certificate: Path
    port: int = 0
    pools: dict[str, bytes] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def texts(self, ending: str) -> list[str]:
        """Give the texts of the one pool whose name ends so."""
        [found] = [pool for name, pool in self.pools.items() if name.endswith(ending)]
        return texts(found)

    def get(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Give a pool."""
        name = _texts_of(request, 1)[0].decode()
        if name not in self.pools:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Resource '{name}' was not found")
        return self.pools[name]

    def update(self, request: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: ARG002
        """Take a pool as it is to be, whether there is one or not."""
        pool = _texts_of(request, 1)[0]
        return self._keep(_texts_of(pool, 1)[0], pool)

    def _keep(self, name: bytes, pool: bytes) -> bytes:
        """Keep a pool, and give the operation that is over with it."""
        self.pools[name.decode()] = pool
        return _field(1, name + b"/operations/1") + b"\x18\x01" + _field(5, _field(1, _TYPE) + _field(2, pool))


@contextmanager
def worker_pools(folder: Path) -> Iterator[WorkerPools]:
    """Serve the pools for as long as the block lasts, under any region's name of Cloud Run's stand-in."""
    key, certificate = _certificate([f"{region}-run.stand-in" for region in REGIONS])
    (folder / "stand-in.pem").write_bytes(certificate)
    pools = WorkerPools(folder / "stand-in.pem")
    server = grpc.server(ThreadPoolExecutor(4, thread_name_prefix="worker pools"))
    methods = {"GetWorkerPool": pools.get, "UpdateWorkerPool": pools.update}
    handlers = {name: grpc.unary_unary_rpc_method_handler(_noting(pools, name, do)) for name, do in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    pools.port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    try:
        yield pools
    finally:
        server.stop(None).wait()


Method = Callable[[bytes, grpc.ServicerContext], bytes]


def _noting(pools: WorkerPools, name: str, do: Method) -> Method:
    def noted(request: bytes, context: grpc.ServicerContext) -> bytes:
        pools.calls.append(name)
        return do(request, context)

    return noted


def tunnel(client: socket.socket, port: int) -> None:
    """Pass on what both sides say until one of them ends."""
    with socket.create_connection(("127.0.0.1", port)) as server:
        back = threading.Thread(target=_pour, args=(server, client), daemon=True)
        back.start()
        _pour(client, server)
        back.join()


def _pour(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _certificate(names: list[str]) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return secret, made.public_bytes(serialization.Encoding.PEM)


# --- Protocol buffers, as they are on the wire


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the fields that hold texts or messages; raises ValueError or IndexError for what is no message."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        if tag & 7 == 2:
            length, at = _read_varint(message, at)
            if at + length > len(message):
                raise ValueError("cut off")
            yield tag >> 3, message[at : at + length]
            at += length
        elif tag & 7 in (0, 1, 5):
            at = _read_varint(message, at)[1] if tag & 7 == 0 else at + (8 if tag & 7 == 1 else 4)
        else:
            raise ValueError("no message")


def _texts_of(message: bytes, number: int) -> list[bytes]:
    return [value for field_number, value in _fields(message) if field_number == number]


def texts(message: bytes) -> list[str]:
    """Give all texts of a message and of the messages in it, in order."""
    try:
        fields = list(_fields(message))
    except (ValueError, IndexError):
        fields = []
    if fields and all(number < 100 for number, _ in fields) and not message.isascii():
        return [text for _, value in fields for text in texts(value)]
    try:
        plain = message.decode()
    except UnicodeDecodeError:
        plain = ""
    if plain.isprintable():
        return [plain]
    return [text for _, value in fields for text in texts(value)]
