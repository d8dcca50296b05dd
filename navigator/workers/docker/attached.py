"""The connection to a container's input and output, as the daemon keeps it open."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Any


class AttachedSocket:
    """The socket of an attached stream, whatever the SDK wraps it in."""

    def __init__(self, attached: Any) -> None:
        self._attached = attached  # holds the response, and with it the connection
        self._socket = getattr(attached, "_sock", attached)
        with contextlib.suppress(AttributeError):
            self._socket.settimeout(None)

    def recv(self, size: int) -> bytes:
        return bytes(self._socket.recv(size))

    def sendall(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        for each in (self._socket, self._attached):
            with contextlib.suppress(OSError):
                each.close()


def frames(connection: AttachedSocket) -> Iterator[tuple[int, bytes]]:
    """Yield the stream's number and data of Docker's multiplexed output, piece by piece.

    `docker.utils.socket.frames_iter` (7.1) polls before each read, and so never gets what TLS has decrypted already: a
    frame whose header and content came together was seen to wait for the next one.
    """
    while True:
        header = b""
        while len(header) < 8:
            piece = connection.recv(8 - len(header))
            if not piece:
                return
            header += piece
        stream, left = struct.unpack(">BxxxL", header)
        while left:
            piece = connection.recv(min(left, 2**16))
            if not piece:
                return
            left -= len(piece)
            yield stream, piece
