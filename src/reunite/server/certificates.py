"""A certificate that a server makes for itself: for connections on one machine or in one house.

What it is       a P-256 key and a certificate under it for `localhost` and one more name, kept in a
                 folder and made anew before they end.
What it is not   proof of anything to strangers: a browser asks people whether to go on. Where they
                 should not be asked, give a certificate of an authority.
The rule         the key is readable by its owner only.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFE = datetime.timedelta(days=397)  # what browsers take at most
RENEWED = datetime.timedelta(days=30)  # so long before its end there is a new one

_ANYWHERE = ("0.0.0.0", "::", "")


class Certificate(NamedTuple):
    """Where the two files are, in PEM."""

    certificate: Path
    key: Path


def self_signed(folder: Path, *, host: str, now: datetime.datetime) -> Certificate:
    """The certificate in this folder for `localhost` and `host`, made if it is missing, ends soon
    or is for another host."""
    files = Certificate(folder / "tls.crt", folder / "tls.key")
    names = _names(host)
    if not _is_good(files, names, now):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(files, names, now)
    return files


def _names(host: str) -> list[x509.GeneralName]:
    texts = dict.fromkeys(["localhost", "127.0.0.1", "::1", host])
    found: list[x509.GeneralName] = []
    for text in texts:
        if text in _ANYWHERE:
            continue
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            found.append(x509.DNSName(text))
    return found


def _is_good(files: Certificate, names: list[x509.GeneralName], now: datetime.datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        serialization.load_pem_private_key(files.key.read_bytes(), password=None)
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return certificate.not_valid_after_utc - now > RENEWED and list(known.value) == names


def _make(files: Certificate, names: list[x509.GeneralName], now: datetime.datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reunite, self-signed")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files.key.unlink(missing_ok=True)
    with os.fdopen(os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
