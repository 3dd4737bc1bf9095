from __future__ import annotations

import socket
import threading

import pytest


@pytest.fixture
def raw_server():
    """A function: answer every connection by `speak(connection, number)` once a whole request has come; the base URL.
    What came is in ``raw_server.asked``."""
    opened: list[socket.socket] = []

    def serve(speak):
        listener = socket.create_server(("127.0.0.1", 0))
        opened.append(listener)

        def loop():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection):
            with connection:
                try:
                    serve.asked.append(request(connection))
                    speak(connection, len(serve.asked))
                except OSError:
                    pass

        threading.Thread(target=loop, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"

    serve.asked = []
    yield serve
    for listener in opened:
        listener.close()


def request(connection):
    """The bytes of one HTTP request."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    return head + body
