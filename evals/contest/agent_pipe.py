"""The referee's end of an agent's pipe."""

from __future__ import annotations

import os
import select
import struct
import time
from multiprocessing.connection import Connection

MAX_MESSAGE = 32 << 20
"""Bytes of one request."""
SEND_S = 10.0
"""Seconds in which an agent has to take an answer."""


HEADER = struct.Struct("!i")
LONG = 1 << 31
"""Length from which a message has another header."""


class Misuse(Exception):
    """An agent's process uses the pipe in a way that no agent needs; the message is a clause that says how."""


class Pipe:
    """It never waits for an agent that sends a part of a message, and not for ever for one that does not read its
    answers: the other runs would wait as well."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        os.set_blocking(connection.fileno(), False)
        self._sent = bytearray()
        """What the agent has sent and nobody has read."""
        self.closed = False
        """Whether the agent's end is closed."""

    def receive(self) -> bytes | None:
        """The next message; ``None`` if it is not there as a whole. Raises Misuse."""
        # The bytes are read here and not by the connection, which would wait for the rest of a message.
        while not self.closed and not self.waits():
            try:
                read = os.read(self.connection.fileno(), 1 << 20)
            except BlockingIOError:
                return None
            except ConnectionError:
                read = b""
            self._sent += read
            self.closed = not read
        return self._take()

    def waits(self) -> bool:
        """Whether :meth:`receive` has something to say without more bytes from the agent."""
        length = self._length()
        return length is not None and (length > MAX_MESSAGE or len(self._sent) >= HEADER.size + length)

    def send(self, message: bytes) -> None:
        """Raises Misuse if the agent does not take the message, OSError if it has ended."""
        left = memoryview(_header(len(message)) + message)
        end = time.monotonic() + SEND_S
        while left:
            _, ready, _ = select.select([], [self.connection], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise Misuse("it does not read the answers to its requests")
            left = left[os.write(self.connection.fileno(), left[: 1 << 16]) :]

    def _length(self) -> int | None:
        """Of the first message; ``None`` if less than its header was read."""
        if len(self._sent) < HEADER.size:
            return None
        length: int = HEADER.unpack_from(self._sent)[0]
        return length if length >= 0 else LONG  # -1 stands before a message above 2 GiB

    def _take(self) -> bytes | None:
        length = self._length()
        if length is None or not self.waits():
            return None
        if length > MAX_MESSAGE:
            raise Misuse(f"it sent a message of more than {MAX_MESSAGE >> 20} MiB")
        message = bytes(self._sent[HEADER.size : HEADER.size + length])
        del self._sent[: HEADER.size + length]
        return message


def _header(length: int) -> bytes:
    """What stands before a message (:mod:`multiprocessing.connection`)."""
    return HEADER.pack(length) if length < LONG else struct.pack("!iQ", -1, length)
