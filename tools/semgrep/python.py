"""Cases for the rules of python.yaml: a line after `ruleid` is found, and one after `ok` is not. Nothing runs this file."""

import http.client
import socket
import urllib.request


def ask(address: str, port: int) -> None:
    """Asks with and without a time limit."""
    # ruleid: a-request-has-a-time-limit
    urllib.request.urlopen(f"http://{address}")
    # ok: a-request-has-a-time-limit
    urllib.request.urlopen(f"http://{address}", timeout=10)
    # ruleid: a-request-has-a-time-limit
    socket.create_connection((address, port))
    # ok: a-request-has-a-time-limit
    http.client.HTTPConnection(address, timeout=10)
