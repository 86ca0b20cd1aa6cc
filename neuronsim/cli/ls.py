"""`neuronsim ls`: the instances there are, or the devices of one."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from isa import target as targets
from isa.target import Target
from neuronsim.cli.output import print_json
from profiler.table import Table, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ls`."""
    parser.add_argument("--instance", metavar="T", help="instance name or target file: show its devices")


def run(args: argparse.Namespace) -> int:
    """List; JSON keys of a device are those of neuron-ls."""
    if args.instance:
        chosen = targets.load(args.instance)
        devices = _devices(chosen)
        if args.json:
            print_json(devices)
        else:
            show([_device_table(chosen, devices)], sys.stdout)
        return 0
    rows = [_instance(targets.load(name)) for name in targets.names() if name not in targets.GENERATIONS]
    if args.json:
        print_json(rows)
    else:
        show([_instance_table(rows)], sys.stdout)
    return 0


def _instance(t: Target) -> dict[str, Any]:
    return {
        "instance_type": t.name,
        "generation": t.generation,
        "neuron_devices": t.chips,
        "nc_count": t.cores,
        "memory_size": t.dram_bytes_per_chip * t.chips,
        "usd_per_hour": t.usd_per_hour,
        "matmul_dtypes": list(t.matmul_dtypes),
        "inferred_parameters": len(t.inferred()),
    }


def _devices(t: Target) -> list[dict[str, Any]]:
    per = t.cores_per_chip
    return [
        {
            "neuron_device": d,
            "nc_count": per,
            "neuroncore_ids": list(range(d * per, (d + 1) * per)),
            "memory_size": t.dram_bytes_per_chip,
            "neuron_processes": [],
        }
        for d in range(t.chips)
    ]


def _instance_table(rows: list[dict[str, Any]]) -> Table:
    table = Table("", ["INSTANCE", "GENERATION", ">DEVICES", ">CORES", ">DEVICE MEMORY", ">USD/HOUR", "MATMUL TYPES"])
    for r in rows:
        price = "-" if r["usd_per_hour"] is None else f"{r['usd_per_hour']:.3f}"
        table.rows.append(
            [
                r["instance_type"],
                r["generation"],
                str(r["neuron_devices"]),
                str(r["nc_count"]),
                _gib(r["memory_size"]),
                price,
                " ".join(r["matmul_dtypes"]),
            ]
        )
    return table


def _device_table(t: Target, devices: list[dict[str, Any]]) -> Table:
    table = Table(
        f"instance-type: {t.name}   ({t.summary})",
        [">NEURON DEVICE", ">NEURON CORES", "NEURON CORE IDS", ">NEURON MEMORY"],
    )
    for d in devices:
        ids = d["neuroncore_ids"]
        table.rows.append([str(d["neuron_device"]), str(d["nc_count"]), f"{ids[0]}-{ids[-1]}", _gib(d["memory_size"])])
    return table


def _gib(size: int) -> str:
    return f"{size / 2**30:g} GiB"
