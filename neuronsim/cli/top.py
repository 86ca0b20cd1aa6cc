"""`neuronsim top`: what every running simulation does now: its cores, its memory, its models."""

from __future__ import annotations

import argparse
import os
import select
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from isa import target as targets
from neuronsim.cli.output import print_json
from neuronsim.monitoring import config, host_counters
from neuronsim.monitoring.host_counters import Reading
from neuronsim.monitoring.report import Machine, Snapshot, core_version
from neuronsim.runtime.ownership import STATE_DIR
from neuronsim.runtime.telemetry import read_snapshots
from profiler.summary import seconds_text
from profiler.table import Table, rendered, show

if TYPE_CHECKING:
    from rich.console import RenderableType

_BAR = 8  # characters
_CELL = len("NC127 [|||||||| 100.0%]  ")
_BESIDE_CELLS = 24  # characters of the table's frame and first column
_KEYS = "q leave, F teraflops, a/d turn"
_LEAVE = ("q", "Q", "\x03", "\x04")
_DEVICE_BYTES = ("tensors", "constants", "model_code", "runtime_memory", "model_shared_scratchpad")
_CATEGORIES = {
    "tensors": "Tensors",
    "constants": "Constants",
    "dma_buffers": "DMA Buffers",
    "application_memory": "App. Memory",
    "model_code": "Model Code",
    "runtime_memory": "Runtime Memory",
    "model_shared_scratchpad": "Model Scratchpad",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `top`."""
    parser.add_argument("--instance", metavar="T", help="only simulations on this instance")
    parser.add_argument("--state-dir", metavar="DIR", help=f"folder that runtimes share; default ${STATE_DIR}")
    parser.add_argument("--once", action="store_true", help="print once, as where the output is no terminal")
    parser.add_argument("--period", type=config.period_argument, default=1.0, metavar="S",
                        help="time between two looks: 1, 250ms (default: 1s)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Show until q or Ctrl-C; once where nobody looks on."""
    instance = targets.load(args.instance).name if args.instance else None
    if args.json:
        print_json({"neuron_runtimes": read_snapshots(args.state_dir, instance)})
    elif args.once or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        _print(read_snapshots(args.state_dir, instance))
    else:
        _live(args.state_dir, instance, args.period)
    return 0


# ---- one runtime in words
def headline(s: Snapshot) -> str:
    """Process, instance and simulated time."""
    state = "running" if s["is_running"] else "idle"
    time_text = f", {seconds_text(s['simulated_ns'] / 1e9)} simulated" if s["simulated_ns"] else ""
    return f"{s['neuron_runtime_tag']} (pid {s['pid']}) on {s['instance_type']}: {state}{time_text}"


def tables(s: Snapshot, tflops: bool = False) -> list[Table]:
    """Neuron-top's sections: utilisation, memory summary, models; `tflops` shows those instead of percent."""
    return [_cores(s, tflops), _memory(s), _models(s)]


def executions(s: Snapshot) -> str:
    """Runs so far, and how long the latest ones took."""
    counts = dict(s["execution_stats"]["execution_summary"])
    completed = counts.pop("completed")
    line = f"executions: {completed} completed, {sum(counts.values())} failed"
    for name, latency in s["execution_stats"]["latency_stats"].items():
        if latency:
            line += f"; {name.replace('_', ' ')} p50 {seconds_text(latency['p50'])}, p99 {seconds_text(latency['p99'])}"
    return line


def _cores(s: Snapshot, tflops: bool) -> Table:
    """The cores that the runtime owns, device by device."""
    topology, _ = Machine(s["instance_type"], s["logical_neuroncore_config"]).topology()
    devices: dict[str, list[str]] = {}
    for index, core in sorted(s["neuroncores_in_use"].items(), key=lambda item: int(item[0])):
        known = topology is not None and int(index) < topology.cores
        device = str(topology.chip_of(int(index))) if topology is not None and known else "-"
        devices.setdefault(device, []).append(_core_cell(index, core, tflops))
    version = f" {core_version(topology)}" if topology is not None else ""
    title = f"NeuronCore{version} {'Teraflops' if tflops else 'Utilization'}"
    table = Table(title, [">Neuron Device", "NeuronCores"])
    in_line = max(1, min(4, (shutil.get_terminal_size().columns - _BESIDE_CELLS) // _CELL))
    for device, cells in devices.items():
        for first in range(0, len(cells), in_line):
            table.rows.append(["" if first else device, "  ".join(cells[first : first + in_line])])
    return table


def _core_cell(index: str, core: Mapping[str, Any], tflops: bool) -> str:
    share = core["neuroncore_utilization"]
    bar = ("|" * round(share / 100 * _BAR)).ljust(_BAR)[:_BAR]
    value = f"{core['flops'] / 1e12:6.3f}" if tflops else f"{share:5.1f}%"
    return f"NC{index:<3} [{bar} {value}]"


def _memory(s: Snapshot) -> Table:
    used = s["memory_used"]["neuron_runtime_used_bytes"]
    by_core = used["usage_breakdown"]["neuroncore_memory_usage"].values()
    host = used["usage_breakdown"]["host"]
    device = {key: sum(core[key] for core in by_core) for key in _DEVICE_BYTES}
    table = Table("Memory Usage Summary", ["", ">Host Used Memory", ">Device Used Memory"])
    table.rows.append(["Total", _size(used["host"]), _size(used["neuron_device"])])
    for key, label in _CATEGORIES.items():
        table.rows.append([label, *(_size(sizes[key]) if key in sizes else "" for sizes in (host, device))])
    return table


def _models(s: Snapshot) -> Table:
    table = Table("Memory Usage Details", [">Model ID", "Model", "NeuronCores", ">Host Memory", ">Device Memory", ""])
    for model in s["memory_used"]["loaded_models"]:
        parts = model["subgraphs"].values()
        cores = [part["neuroncore_index"] for part in parts]
        sizes = [part["memory_used_bytes"] for part in parts]
        table.rows.append([
            str(model["model_id"]), model["name"], _span(cores), _size(sum(size["host"] for size in sizes)),
            _size(sum(size["neuron_device"] for size in sizes)), "running" if model["is_running"] else "",
        ])  # fmt: skip
    return table


def _span(cores: Sequence[int]) -> str:
    if cores and list(cores) == list(range(cores[0], cores[0] + len(cores))):
        return str(cores[0]) if len(cores) == 1 else f"{cores[0]}-{cores[-1]}"
    return ",".join(map(str, cores))


def _size(size: int) -> str:
    for unit, name in ((2**30, "GB"), (2**20, "MB"), (2**10, "KB")):
        if size >= unit:
            return f"{size / unit:.1f}{name}"
    return f"{size}B"


# ---- on the terminal
def _print(snapshots: Sequence[Snapshot]) -> None:
    if not snapshots:
        sys.stdout.write("no simulation is running\n")
    for k, s in enumerate(snapshots):
        sys.stdout.write(f"{chr(10) if k else ''}{headline(s)}\n{executions(s)}\n")
        show(tables(s), sys.stdout)


def _live(state_dir: str | None, instance: str | None, period: float) -> None:
    from rich.console import Console
    from rich.live import Live

    host, tflops, first = _Host(), False, 0
    try:
        with _keys() as key, Live(console=Console(), screen=True, auto_refresh=False) as live:
            while True:
                found = read_snapshots(state_dir, instance)
                turn = first % len(found) if found else 0
                live.update(_screen([*found[turn:], *found[:turn]], host, tflops), refresh=True)
                pressed = key(period)
                if pressed in _LEAVE:
                    return
                tflops ^= pressed in ("f", "F")
                first = turn + (pressed == "d") - (pressed == "a")
    except KeyboardInterrupt:
        return


def _screen(snapshots: Sequence[Snapshot], host: _Host, tflops: bool) -> RenderableType:
    """The whole screen: this host, then a panel for each runtime."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    host.look(snapshots)
    parts: list[RenderableType] = [Text(f"neuronsim top   {host.system()}   {_KEYS}", style="bold")]
    if not snapshots:
        parts.append(Text("no simulation is running", style="dim"))
    for s in snapshots:
        line = Text(f"{executions(s)}   {host.runtime(s['pid'])}")
        inside = Group(line, *map(rendered, tables(s, tflops)))
        parts.append(Panel(inside, title=Text(headline(s), style="bold"), title_align="left"))
    return Group(*parts)


class _Host:
    """Processor time between the last two looks."""

    def __init__(self) -> None:
        self._time = time.monotonic()
        self._seconds = 0.0
        self._cpus = (Reading(), host_counters.read_cpus())
        self._processes: dict[int, tuple[Reading, Reading]] = {}

    def look(self, snapshots: Sequence[Snapshot]) -> None:
        now = time.monotonic()
        self._seconds, self._time = now - self._time, now
        self._cpus = (self._cpus[1], host_counters.read_cpus())
        before = {pid: pair[1] for pid, pair in self._processes.items()}
        pids = {s["pid"] for s in snapshots}
        self._processes = {pid: (before.get(pid, Reading()), host_counters.read_process(pid)) for pid in pids}

    def system(self) -> str:
        """System vCPU usage, user% and system%."""
        share = host_counters.cpu_shares(*self._cpus).get("cpu")
        return f"System vCPU Usage {share['user']:.1f}%, {share['system']:.1f}%" if share else ""

    def runtime(self, pid: int) -> str:
        """Runtime vCPU usage of one process, likewise."""
        share = host_counters.process_shares(*self._processes[pid], self._seconds)
        return f"Runtime vCPU Usage {share['user']:.1f}%, {share['system']:.1f}%"


@contextmanager
def _keys() -> Iterator[Any]:
    """A function that waits so many seconds for a key and returns it, or "" after them; the terminal is put back."""
    import termios
    import tty

    interactive = sys.stdin.isatty()
    descriptor = sys.stdin.fileno() if interactive else -1

    def key(seconds: float) -> str:
        ready, _, _ = select.select([descriptor] if interactive else [], [], [], seconds)
        return os.read(descriptor, 1).decode("ascii", "replace") if ready else ""

    if not interactive:
        yield key
        return
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield key
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
