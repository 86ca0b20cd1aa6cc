"""`neuronsim ls`: columns and keys of neuron-ls, the drawing of the links, and who owns cores."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import neuronsim
from isa import target as targets
from neuronsim import cli
from neuronsim.runtime import Instance
from neuronsim.runtime.environment import LOGICAL_NC_CONFIG, NUM_CORES, VISIBLE_CORES

KEYS = {"neuron_device", "bdf", "cpu_affinity", "numa_node", "connected_to", "nc_count", "memory_size",
        "neuroncore_ids", "neuron_processes"}  # fmt: skip
TORUS = """\
Neuron Device Topology
        *        *        *        *
        |        |        |        |
        v        v        v        v
  *-->[ 0 ]<-->[ 1 ]<-->[ 2 ]<-->[ 3 ]<--*
        ^        ^        ^        ^
        |        |        |        |
        v        v        v        v
  *-->[ 4 ]<-->[ 5 ]<-->[ 6 ]<-->[ 7 ]<--*
        ^        ^        ^        ^
        |        |        |        |
        v        v        v        v
  *-->[ 8 ]<-->[ 9 ]<-->[10 ]<-->[11 ]<--*
        ^        ^        ^        ^
        |        |        |        |
        v        v        v        v
  *-->[12 ]<-->[13 ]<-->[14 ]<-->[15 ]<--*
        ^        ^        ^        ^
        |        |        |        |
        *        *        *        *

  * = link around to the other end
"""


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No runtime of this machine's user is seen."""
    monkeypatch.setenv("NEURONSIM_STATE_DIR", str(tmp_path))
    monkeypatch.delenv(LOGICAL_NC_CONFIG, raising=False)


def listed(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert cli.main(["ls", *argv]) == 0
    return json.loads(capsys.readouterr().out)


def text(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(["ls", *argv]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", [n for n in targets.names() if n not in targets.GENERATIONS])
def test_every_instance(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = targets.load(name)
    devices = listed(capsys, "--instance", name, "--json")
    assert [d["neuron_device"] for d in devices] == list(range(target.chips))
    for d in devices:
        assert KEYS <= set(d)
        assert len(d["neuroncore_ids"]) == d["nc_count"]
        assert d["memory_size"] == target.dram_bytes_per_chip
        assert all(d["neuron_device"] in devices[other]["connected_to"] for other in d["connected_to"])
    ids = [c for d in devices for c in d["neuroncore_ids"]]
    assert ids == list(range(target.cores // target.lnc_default))


def test_columns_are_those_of_neuron_ls(capsys: pytest.CaptureFixture[str]) -> None:
    title, head, *rows = text(capsys, "--instance", "inf1.6xlarge").splitlines()
    assert title.startswith("instance-type: inf1.6xlarge")
    for column in ("NEURON DEVICE", "NEURON CORES", "NEURON CORE IDS", "NEURON MEMORY", "CONNECTED DEVICES", "PID",
                   "COMMAND", "RUNTIME VERSION"):  # fmt: skip
        assert column in head
    assert [r.split() for r in rows] == [
        ["0", "4", "0-3", "8", "GiB", "1", "NA", "NA", "NA"],
        ["1", "4", "4-7", "8", "GiB", "0,", "2", "NA", "NA", "NA"],
        ["2", "4", "8-11", "8", "GiB", "1,", "3", "NA", "NA", "NA"],
        ["3", "4", "12-15", "8", "GiB", "2", "NA", "NA", "NA"],
    ]


def test_the_drawings(capsys: pytest.CaptureFixture[str]) -> None:
    assert text(capsys, "--instance", "trn1.32xlarge", "--topology").endswith("\n\n" + TORUS)
    assert text(capsys, "--instance", "inf1.6xlarge", "-t").endswith(
        "\nNeuron Device Topology\n  [ 0 ]<-->[ 1 ]<-->[ 2 ]<-->[ 3 ]\n")
    ring = text(capsys, "--instance", "inf2.48xlarge", "-t").splitlines()
    assert ring[-3].startswith("  *-->[ 0 ]<-->[ 1 ]") and ring[-3].endswith("[10 ]<-->[11 ]<--*")
    assert "\n  [ 0 ]\n" in text(capsys, "--instance", "inf1.xlarge", "-t")


def test_a_list_of_all_instances(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {r["instance_type"]: r for r in listed(capsys, "-j")}
    assert {n: rows[n]["topology"] for n in ("inf1.xlarge", "inf1.24xlarge", "inf2.48xlarge", "trn2.48xlarge")} == {
        "inf1.xlarge": "one chip", "inf1.24xlarge": "chain of 16", "inf2.48xlarge": "ring of 12",
        "trn2.48xlarge": "4x4 torus"}  # fmt: skip
    assert (rows["trn2.48xlarge"]["nc_count"], rows["trn2.48xlarge"]["physical_nc_count"]) == (64, 128)
    everything = text(capsys, "-t")
    assert TORUS in everything and "chain of 4" in everything


def test_logical_cores(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    first = listed(capsys, "--instance", "trn2.48xlarge", "-j")[0]
    assert (first["logical_neuroncore_config"], first["neuroncore_ids"]) == (2, [0, 1, 2, 3])
    assert "logical-neuroncore-config: 2" in text(capsys, "--instance", "trn2.48xlarge")
    monkeypatch.setenv(LOGICAL_NC_CONFIG, "1")
    assert listed(capsys, "--instance", "trn2.48xlarge", "-j")[1]["neuroncore_ids"] == list(range(8, 16))
    assert "logical_neuroncore_config" not in listed(capsys, "--instance", "inf1.xlarge", "-j")[0]
    monkeypatch.setenv(LOGICAL_NC_CONFIG, "3")
    assert cli.main(["ls", "--instance", "trn2.48xlarge"]) == cli.EXIT_BAD_INPUT
    assert capsys.readouterr().err.startswith("error[NRT_INVALID]: ")


def test_processes_on_a_device(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["serve.py", "--greet\nall"])
    elsewhere = tmp_path / "elsewhere"
    command, pid = "serve.py --greet all", os.getpid()
    with (
        Instance("inf1.6xlarge", {VISIBLE_CORES: "3-4"}),
        Instance("inf1.6xlarge", {NUM_CORES: "1"}),
        Instance("inf1.6xlarge", {}, elsewhere),
    ):
        devices = listed(capsys, "--instance", "inf1.6xlarge", "-j")
        assert [[p["pid"] for p in d["neuron_processes"]] for d in devices] == [[pid, pid], [pid], [], []]
        assert devices[0]["neuron_processes"][0] == {
            "pid": pid, "command": command, "neuron_runtime_version": neuronsim.__version__}  # fmt: skip
        assert text(capsys, "--instance", "inf1.6xlarge").count(f"{pid}  {command}") == 3
        assert text(capsys, "--instance", "inf1.6xlarge", "--state-dir", str(elsewhere)).count(f"{pid}  {command}") == 4
    assert not any(d["neuron_processes"] for d in listed(capsys, "--instance", "inf1.6xlarge", "-j"))
