"""What Google's side of the wire has: a service account, a certificate, and errors as Google writes them."""

import datetime
import ipaddress
import json
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from support.misbehaving import Reply, answer


def certificate(folder: Path, *hosts: str) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for 127.0.0.1, and for these hosts: the file to trust, and what a server needs."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), *map(x509.DNSName, hosts)]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    trusted, private = folder / "trusted.pem", folder / "private.pem"
    trusted.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(trusted, private)
    return trusted, context


def account_key() -> str:
    """Make the private key of a service account: that takes a while, and one will do for many."""
    return _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)).decode()


def service_account(folder: Path, key: str, token_address: str) -> Path:
    """Write a service account's key file, whose tokens come from ``token_address``."""
    account = {
        "type": "service_account",
        "project_id": "shop",
        "private_key_id": "1",
        "private_key": key,
        "client_email": "labelloop@shop.iam.gserviceaccount.com",
        "token_uri": token_address,
    }
    path = folder / "account.json"
    path.write_text(json.dumps(account))
    return path


def token(text: str, seconds: int = 3600) -> Reply:
    """Give an access token that lasts so long."""
    return answer({"access_token": text, "expires_in": seconds, "token_type": "Bearer"})


def google_error(code: int, status: str, message: str = "no") -> Reply:
    """Answer as Google's services do when they fail."""
    return answer({"error": {"code": code, "message": message, "status": status}}, code, "Retry-After: 0\r\n")


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
