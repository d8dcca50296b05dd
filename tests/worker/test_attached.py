"""What a container prints, as Docker sends it over a TCP connection with TLS."""

import datetime
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from navigator.workers.docker.attached import AttachedSocket, frames


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[ssl.SSLSocket, ssl.SSLSocket]]:
    """Return both ends of a connection."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "docker")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    path = tmp_path / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    theirs.load_cert_chain(path)
    ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE
    one, other = socket.socketpair()
    ends: list[ssl.SSLSocket] = []
    thread = threading.Thread(target=lambda: ends.append(theirs.wrap_socket(one, server_side=True)))
    thread.start()
    client = ours.wrap_socket(other)
    thread.join()
    with client, ends[0]:
        yield ends[0], client


def test_frames_that_came_together_are_read_without_waiting_for_more(
    tls: tuple[ssl.SSLSocket, ssl.SSLSocket],
) -> None:
    """The rest of what TLS has decrypted is not seen by who polls the socket."""
    docker, here = tls
    docker.sendall(struct.pack(">BxxxL", 1, 5) + b"hello" + struct.pack(">BxxxL", 2, 3) + b"{}\n")
    read: list[tuple[int, bytes]] = []
    read_frames = frames(AttachedSocket(here))
    thread = threading.Thread(target=lambda: read.extend([next(read_frames), next(read_frames)]), daemon=True)
    thread.start()
    thread.join(10)

    assert read == [(1, b"hello"), (2, b"{}\n")]
