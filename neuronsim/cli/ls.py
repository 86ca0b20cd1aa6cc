"""`neuronsim ls`: the instances there are, or the devices of one, with the columns and JSON keys of neuron-ls."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from isa import target as targets
from isa.target import Target
from isa.topology import Topology
from neuronsim.cli.output import print_json
from neuronsim.runtime.environment import LOGICAL_NC_CONFIG, logical_size
from neuronsim.runtime.ownership import STATE_DIR, Owner, Registry, state_folder
from profiler.table import Table, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ls`."""
    parser.add_argument("--instance", metavar="T", help="instance name or target file: show its devices")
    parser.add_argument("-t", "--topology", action="store_true", help="draw how the devices are linked")
    parser.add_argument("-j", "--json-output", action="store_true", dest="json", default=argparse.SUPPRESS,
                        help="as --json, the spelling of neuron-ls")  # fmt: skip
    parser.add_argument("--state-dir", metavar="DIR", help=f"folder that runtimes share; default ${STATE_DIR}")


def run(args: argparse.Namespace) -> int:
    """List; with an instance the JSON is that of neuron-ls: a list of devices."""
    if args.instance:
        target = targets.load(args.instance)
        topology = Topology(target, logical_size(target, os.environ.get(LOGICAL_NC_CONFIG, "").strip()))
        owners = Registry(state_folder(target.name, args.state_dir)).owners()
        devices = [_device(topology, chip, owners) for chip in range(target.chips)]
        if args.json:
            print_json(devices)
            return 0
        show([_device_table(topology, devices)], sys.stdout)
        if args.topology:
            sys.stdout.write("\n" + drawing(topology))
        return 0
    machines = [targets.load(name) for name in targets.names() if name not in targets.GENERATIONS]
    if args.json:
        print_json([_instance(t) for t in machines])
        return 0
    show([_instance_table([_instance(t) for t in machines])], sys.stdout)
    if args.topology:
        for t in machines:
            sys.stdout.write(f"\n{t.name}: {drawing(Topology(t))}")
    return 0


def _instance(t: Target) -> dict[str, Any]:
    topology = Topology(t, t.lnc_default)
    return {
        "instance_type": t.name,
        "generation": t.generation,
        "neuron_devices": t.chips,
        "nc_count": topology.cores,
        "logical_neuroncore_config": t.lnc_default,
        "physical_nc_count": t.cores,
        "memory_size": t.dram_bytes_per_chip * t.chips,
        "topology": topology.shape,
        "usd_per_hour": t.usd_per_hour,
        "matmul_dtypes": list(t.matmul_dtypes),
        "inferred_parameters": len(t.inferred()),
    }


def _device(topology: Topology, chip: int, owners: Sequence[Owner]) -> dict[str, Any]:
    """One device as neuron-ls describes it. A simulated one has no place on a PCI bus, nor in a NUMA node: null."""
    target = topology.target
    physical = range(chip * target.cores_per_chip, (chip + 1) * target.cores_per_chip)
    found: dict[str, Any] = {
        "neuron_device": chip,
        "bdf": None,
        "cpu_affinity": None,
        "numa_node": None,
        "connected_to": list(topology.neighbours(chip)),
        "nc_count": topology.cores_per_chip,
        "memory_size": target.dram_bytes_per_chip,
        "neuroncore_ids": list(topology.cores_of(chip)),
        "neuron_processes": [
            {"pid": o.pid, "command": o.command, "neuron_runtime_version": o.version}
            for o in owners
            if any(core in physical for core in o.cores)
        ],
    }
    if len(target.lnc_sizes) > 1:
        found["logical_neuroncore_config"] = topology.lnc
    return found


def _instance_table(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        "",
        ["INSTANCE", "GENERATION", ">DEVICES", ">CORES", ">DEVICE MEMORY", "TOPOLOGY", ">USD/HOUR", "MATMUL TYPES"],
    )
    for r in rows:
        price = "-" if r["usd_per_hour"] is None else f"{r['usd_per_hour']:.3f}"
        lnc = r["logical_neuroncore_config"]
        table.rows.append(
            [
                r["instance_type"],
                r["generation"],
                str(r["neuron_devices"]),
                str(r["nc_count"]) if lnc == 1 else f"{r['nc_count']} x{lnc}",
                _gib(r["memory_size"]),
                r["topology"],
                price,
                " ".join(r["matmul_dtypes"]),
            ]
        )
    if any(r["logical_neuroncore_config"] > 1 for r in rows):
        table.notes.append(f"cores x2: logical cores of two physical ones; {LOGICAL_NC_CONFIG}=1 counts physical cores")
    return table


def _device_table(topology: Topology, devices: list[dict[str, Any]]) -> Table:
    target = topology.target
    title = f"instance-type: {target.name}   ({target.summary}, {topology.shape})"
    if len(target.lnc_sizes) > 1:
        title += f"\nlogical-neuroncore-config: {topology.lnc}"
    table = Table(
        title,
        [">NEURON DEVICE", ">NEURON CORES", "NEURON CORE IDS", ">NEURON MEMORY", "CONNECTED DEVICES", ">PID", "COMMAND",
         "RUNTIME VERSION"],
    )  # fmt: skip
    for d in devices:
        ids = d["neuroncore_ids"]
        own = [
            str(d["neuron_device"]),
            str(d["nc_count"]),
            f"{ids[0]}-{ids[-1]}" if len(ids) > 1 else f"{ids[0]}",
            _gib(d["memory_size"]),
            ", ".join(map(str, d["connected_to"])),
        ]
        for p in d["neuron_processes"] or [{"pid": "NA", "command": "NA", "neuron_runtime_version": "NA"}]:
            table.rows.append([*own, str(p["pid"]), p["command"], p["neuron_runtime_version"]])
            own = [""] * len(own)
    return table


def drawing(topology: Topology) -> str:
    """The devices on their grid with the links between them; `*` is a link around to the other end."""
    rows, columns = topology.target.link_grid
    wrap = topology.target.link_wrap
    around = wrap and columns > 1
    indent = " " * (2 + 4 * around)
    lines = ["Neuron Device Topology"]

    def upright(*marks: str) -> None:
        lines.extend(f"{indent}  {(' ' * 8).join([mark] * columns)}" for mark in marks)

    if wrap and rows > 1:
        upright("*", "|", "v")
    for row in range(rows):
        cells = "<-->".join(f"[{row * columns + column:>2} ]" for column in range(columns))
        lines.append(f"  *-->{cells}<--*" if around else f"  {cells}")
        if row + 1 < rows:
            upright("^", "|", "v")
    if wrap and rows > 1:
        upright("^", "|", "*")
    if wrap:
        lines += ["", "  * = link around to the other end"]
    return "\n".join(lines) + "\n"


def _gib(size: int) -> str:
    return f"{size / 2**30:g} GiB"
