"""A page shown on this machine's loopback address, which nobody else can reach."""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from neuronsim.cli.profiles import ProfileError

LOOPBACK = "127.0.0.1"
PORT = 3001  # neuron-profile's


def serve(page: bytes, port: int) -> None:
    """Show a page at http://127.0.0.1:PORT/ until interrupted.

    Args: port: 0 takes any that is free. Raises: ProfileError when it is taken.
    """
    with server(page, port) as running:
        sys.stdout.write(f"http://{LOOPBACK}:{running.server_port}/ (Ctrl-C ends)\n")
        sys.stdout.flush()
        running.serve_forever(poll_interval=0.1)


def server(page: bytes, port: int) -> ThreadingHTTPServer:
    """An HTTP server on the loopback address that knows one page. Raises: ProfileError."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here = f":{running.server_port}"
            if self.headers.get("Host") not in (LOOPBACK + here, "localhost" + here):
                self.send_error(403)  # another name that somebody made point here
            elif self.path.partition("?")[0] != "/":
                self.send_error(404)
            else:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not told of."""

    try:
        running = ThreadingHTTPServer((LOOPBACK, port), Handler)
    except (OSError, OverflowError) as error:
        raise ProfileError(f"cannot serve: {getattr(error, 'strerror', None) or error}", where=f"{LOOPBACK}:{port}",
                           help="choose another with --port; 0 takes any that is free") from error  # fmt: skip
    return running
