"""`neuronsim monitor`: neuron-monitor's report key by key, its configuration, and when which group is collected."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuronsim import cli
from neuronsim.monitoring import config, host_counters
from neuronsim.monitoring.config import ConfigError
from neuronsim.monitoring.host_counters import CPU_STATES, Reading
from neuronsim.monitoring.stream import Monitor
from tests.neuronsim.monitored_runtimes import LATENCY, Runtime

PERCENTILES = {"p0", "p1", "p25", "p50", "p75", "p99", "p100"}


class Time:
    """A clock that only moves while somebody waits; `at` says what happens at which second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at: dict[float, Any] = {}

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        for moment in sorted(m for m in self.at if m <= end):
            self.at.pop(moment)()
        self.now = end


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    found = Runtime(tmp_path, (4, 5), "app")
    found.show()
    yield found
    found.close()


def reports(tmp_path: Path, time: Time, chosen: config.Config, count: int, instance: str | None = None) -> list[Any]:
    monitor = Monitor(chosen, instance, tmp_path, time.clock, time.wait)
    return list(itertools.islice(monitor.reports(), count))


def runtime_report(report: dict[str, Any]) -> dict[str, Any]:
    (found,) = report["neuron_runtime_data"]
    return found["report"]


def written(tmp_path: Path, value: Any) -> Path:
    path = tmp_path / "monitor.conf"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


# ---- the report
def test_shape_of_the_report(tmp_path: Path, runtime: Runtime) -> None:
    time = Time()
    time.at[1.0] = lambda: runtime.show(completed=123, utilization=42.0, simulated_ns=5e6)
    (report,) = reports(tmp_path, time, config.everything(1.5), 1)
    assert list(report) == ["neuron_runtime_data", "system_data", "instance_info", "neuron_hardware_info"]
    (entry,) = report["neuron_runtime_data"]
    assert list(entry) == ["pid", "address", "neuron_runtime_tag", "error", "report"]
    assert (entry["pid"], entry["neuron_runtime_tag"], entry["error"]) == (os.getpid(), "app", "")
    groups = entry["report"]
    assert set(groups) == {"neuroncore_counters", "execution_stats", "memory_used", "neuron_runtime_vcpu_usage"}
    assert all(group["period"] == 1.5 and group["error"] == "" for group in groups.values())
    assert groups["neuroncore_counters"]["neuroncores_in_use"] == {
        core: {"neuroncore_utilization": 42.0, "flops": 42_000_000_000} for core in ("4", "5")
    }
    stats = groups["execution_stats"]
    assert set(stats["error_summary"]) == {"generic", "numerical", "transient", "model", "runtime", "hardware"}
    assert stats["execution_summary"] == {
        "completed": 123, "completed_with_err": 0, "completed_with_num_err": 0, "timed_out": 0,
        "incorrect_input": 0, "failed_to_queue": 0,
    }  # fmt: skip
    assert set(stats["latency_stats"]) == {"total_latency", "device_latency"}
    assert set(stats["latency_stats"]["total_latency"]) == PERCENTILES
    used = groups["memory_used"]["neuron_runtime_used_bytes"]
    assert set(used["usage_breakdown"]["host"]) == {"application_memory", "constants", "dma_buffers", "tensors"}
    by_core = used["usage_breakdown"]["neuroncore_memory_usage"]
    assert set(by_core) == {"4", "5"}
    assert set(by_core["4"]) == {"constants", "model_code", "model_shared_scratchpad", "runtime_memory", "tensors"}
    assert used["neuron_device"] == sum(sum(core.values()) for core in by_core.values())
    (model,) = groups["memory_used"]["loaded_models"]
    assert set(model) == {"name", "uuid", "model_id", "is_running", "subgraphs"}
    assert set(model["subgraphs"]["sg_00"]) == {"memory_used_bytes", "neuroncore_index", "neuron_device_index"}
    assert set(groups["neuron_runtime_vcpu_usage"]["vcpu_usage"]) == {"user", "system"}


def test_host_and_hardware(tmp_path: Path, runtime: Runtime) -> None:
    (report,) = reports(tmp_path, Time(), config.everything(1.0), 1)
    system = report["system_data"]
    assert set(system) == {"neuron_hw_counters", "vcpu_usage", "memory_info"}
    devices = system["neuron_hw_counters"]["neuron_devices"]
    assert [d["neuron_device_index"] for d in devices] == [0, 1, 2, 3]
    assert set(devices[0]) == {"neuron_device_index", "mem_ecc_corrected", "mem_ecc_uncorrected",
                               "sram_ecc_corrected", "sram_ecc_uncorrected"}  # fmt: skip
    usage = system["vcpu_usage"]
    assert set(usage["average_usage"]) == set(CPU_STATES)
    assert {str(k) for k in range(os.cpu_count() or 1)} >= set(usage["usage_data"]) > set()
    assert usage["context_switch_count"] >= 0
    memory = system["memory_info"]
    assert 0 < memory["memory_used_bytes"] < memory["memory_total_bytes"]
    assert report["neuron_hardware_info"] == {
        "neuron_device_type": "inferentia", "neuron_device_version": "v1", "neuroncore_version": "v1",
        "neuron_device_count": 4, "neuron_device_memory_size": 8 * 2**30, "neuroncore_per_device_count": 4,
        "logical_neuroncore_config": 1, "error": "",
    }  # fmt: skip
    assert report["instance_info"]["instance_type"] == "inf1.6xlarge"


def test_logical_cores_show_their_physical_ones(tmp_path: Path) -> None:
    two = Runtime(tmp_path, (2, 3), instance="trn2.48xlarge")
    two.show(utilization=7.0, lnc=2)
    (report,) = reports(tmp_path, Time(), config.everything(1.0), 1)
    assert runtime_report(report)["neuroncore_counters"]["neuroncores_in_use"] == {
        "1": {
            "neuroncore_utilization": 7.0,
            "flops": 7_000_000_000,
            "v3d": {"nc_v3.2": {"neuroncore_utilization": 7.0}, "nc_v3.3": {"neuroncore_utilization": 7.0}},
        }
    }
    hardware = report["neuron_hardware_info"]
    assert (hardware["neuroncore_version"], hardware["neuroncore_per_device_count"]) == ("v3d", 4)
    two.close()


def test_counts_are_of_the_period(tmp_path: Path, runtime: Runtime) -> None:
    time = Time()
    runtime.show(completed=100)
    time.at[0.5] = lambda: runtime.show(completed=110, utilization=50.0, simulated_ns=1e6)
    time.at[1.5] = lambda: runtime.show(completed=110, utilization=50.0, simulated_ns=1e6, is_running=False)
    time.at[2.5] = lambda: runtime.show(completed=113, utilization=25.0, simulated_ns=2e6)
    told = [runtime_report(r) for r in reports(tmp_path, time, config.everything(1.0), 3)]
    assert [r["execution_stats"]["execution_summary"]["completed"] for r in told] == [10, 0, 3]
    latencies = [r["execution_stats"]["latency_stats"]["total_latency"] for r in told]
    assert latencies == [LATENCY, None, LATENCY]
    shares = [r["neuroncore_counters"]["neuroncores_in_use"]["4"]["neuroncore_utilization"] for r in told]
    assert shares == [50.0, 0.0, 25.0]


def test_runtimes_come_and_go(tmp_path: Path, runtime: Runtime) -> None:
    time = Time()
    late: list[Runtime] = []

    def begin() -> None:
        late.append(Runtime(tmp_path, (0, 1)))
        late[0].show(completed=7)

    time.at[1.5] = begin
    time.at[2.5] = lambda: late[0].close()
    told = reports(tmp_path, time, config.everything(1.0), 3)
    assert [len(r["neuron_runtime_data"]) for r in told] == [1, 2, 1]
    new = told[1]["neuron_runtime_data"][0]["report"]
    assert new["execution_stats"]["execution_summary"]["completed"] == 7
    assert new["execution_stats"]["period"] == 1.0


def test_nothing_runs_yet(tmp_path: Path) -> None:
    time = Time()
    made: list[Runtime] = []

    def begin() -> None:
        made.append(Runtime(tmp_path, (0,), instance="inf2.xlarge"))
        made[0].show()

    time.at[1.5] = begin
    before, after = reports(tmp_path, time, config.everything(1.0), 2)
    assert before["neuron_runtime_data"] == []
    assert before["neuron_hardware_info"]["error"] == "no simulated instance is running"
    assert before["neuron_hardware_info"]["neuron_device_count"] == 0
    assert after["neuron_hardware_info"]["neuron_device_type"] == "inferentia2"
    made[0].close()


def test_an_instance_whose_target_file_is_not_known(tmp_path: Path) -> None:
    own = Runtime(tmp_path, (0,), instance="mine")
    own.show()
    (report,) = reports(tmp_path, Time(), config.everything(1.0), 1)
    assert "mine" in report["neuron_hardware_info"]["error"]
    assert len(report["neuron_runtime_data"]) == 1
    own.close()


def test_several_instances_need_a_name(
    tmp_path: Path, runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Runtime(tmp_path, (0,), instance="inf2.xlarge")
    other.show()
    argv = ["monitor", "--period", "1ms", "--count", "1", "--state-dir", str(tmp_path)]
    assert cli.main(argv) == 1
    assert "error[MONITOR]" in (err := capsys.readouterr().err) and "--instance inf1.6xlarge" in err
    assert cli.main([*argv, "--instance", "inf2.xlarge"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["instance_info"]["instance_type"] == "inf2.xlarge"
    assert len(report["neuron_runtime_data"]) == 1
    other.close()


# ---- the configuration
def test_periods_of_groups(tmp_path: Path, runtime: Runtime) -> None:
    """A group's own period beats its parent's; a report repeats what was not due."""
    path = written(tmp_path, {
        "period": "1s",
        "neuron_runtimes": [{"tag_filter": ".*", "metrics": [{"type": "neuroncore_counters"}]}],
        "system_metrics": [{"type": "memory_info", "period": "2s"}],
    })  # fmt: skip
    told = reports(tmp_path, Time(), config.load(path), 4)
    assert [set(r["system_data"]) for r in told] == [set(), *[{"memory_info"}] * 3]
    assert told[1]["system_data"]["memory_info"]["period"] == 2.0
    assert told[2]["system_data"] == told[1]["system_data"]
    assert all(set(runtime_report(r)) == {"neuroncore_counters"} for r in told)


def test_tag_filter(tmp_path: Path, runtime: Runtime) -> None:
    other = Runtime(tmp_path, (0,), "other")
    other.show()
    metrics = [{"type": "memory_used"}]
    path = written(tmp_path, {"neuron_runtimes": [{"tag_filter": "^ap+$", "metrics": metrics}]})
    (report,) = reports(tmp_path, Time(), config.load(path, 1.0), 1)
    assert [r["neuron_runtime_tag"] for r in report["neuron_runtime_data"]] == ["app"]
    assert report["system_data"] == {}
    other.close()


@pytest.mark.parametrize(
    "value, where",
    [
        ("{", ""),
        ([], ""),
        ({}, ""),
        ({"perod": "1s"}, "perod"),
        ({"period": "fast"}, "period"),
        ({"period": "0s"}, "period"),
        ({"period": True}, "period"),
        ({"system_metrics": {}}, "system_metrics"),
        ({"system_metrics": [{"type": "memory_used"}]}, "system_metrics[0].type"),
        ({"system_metrics": [{"type": "memory_info", "period": "-1s"}]}, "system_metrics[0].period"),
        ({"neuron_runtimes": [{"metrics": [{"type": "x"}]}]}, "neuron_runtimes[0].metrics[0].type"),
        ({"neuron_runtimes": [{"tag_filter": "("}]}, "neuron_runtimes[0].tag_filter"),
        ({"neuron_runtimes": [{"tag_filter": 1}]}, "neuron_runtimes[0].tag_filter"),
    ],
)  # fmt: skip
def test_bad_configurations(tmp_path: Path, value: Any, where: str) -> None:
    path = written(tmp_path, value)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert caught.value.where == f"{path}: {where}".removesuffix(": ")


@pytest.mark.parametrize(
    "text, seconds", [("5s", 5.0), ("500ms", 0.5), ("1m30s", 90.0), ("0.25", 0.25), ("1.5s", 1.5), ("1h", 3600.0)]
)
def test_periods(text: str, seconds: float) -> None:
    assert config.parse_period(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1x", "5s5", "nan", "inf", "0", "25h", "1s 2s"])
def test_bad_periods(text: str) -> None:
    with pytest.raises(ValueError):
        config.parse_period(text)


# ---- the host's counters
def test_shares_of_processor_time(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  10 0 10 80 0 0 0 0 5 0\ncpu0 10 0 10 80 0 0 0 0 5 0\nctxt 100\nbtime 1\n")
    before = host_counters.read_cpus(tmp_path)
    stat.write_text("cpu  40 0 20 130 0 0 0 10 5 0\ncpu0 10 0 10 180 0 0 0 0 5 0\nctxt 150\nbtime 1\n")
    now = host_counters.read_cpus(tmp_path)
    shares = host_counters.cpu_shares(before, now)
    assert shares["cpu"] == {**dict.fromkeys(CPU_STATES, 0.0), "user": 30.0, "system": 10.0, "idle": 50.0}
    assert shares["0"] == {**dict.fromkeys(CPU_STATES, 0.0), "idle": 100.0}
    assert now.counters["ctxt"][0] - before.counters["ctxt"][0] == 50


def test_a_process_whose_name_has_brackets(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/stat").write_text("7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 300 200 0 0\n")
    reading = host_counters.read_process(7, tmp_path)
    assert reading.counters["ticks"] == [300, 200]
    shares = host_counters.process_shares(Reading({"ticks": [200, 200]}), reading, 1.0)
    threads = os.cpu_count() or 1
    assert shares == {"user": pytest.approx(100 * 100 / os.sysconf("SC_CLK_TCK") / threads), "system": 0.0}


def test_a_host_without_proc(tmp_path: Path) -> None:
    for read in (host_counters.read_cpus, host_counters.read_memory, lambda p: host_counters.read_process(1, p)):
        reading = read(tmp_path / "none")
        assert not reading.counters and reading.error.endswith("no such file or directory")


# ---- the command
def test_command_line(tmp_path: Path, runtime: Runtime, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["monitor", "--period", "2ms", "--count", "3", "--state-dir", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(json.loads(line)["neuron_runtime_data"] for line in lines)


def test_bad_command_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["monitor", "--period", "soon"]) == 2
    assert "500ms" in capsys.readouterr().err
    assert cli.main(["monitor", "-c", str(tmp_path / "none")]) == 1
    assert "error[IO]" in capsys.readouterr().err
    assert cli.main(["monitor", "-c", str(written(tmp_path, "["))]) == 1
    assert "error[MONITOR_CONFIG]" in capsys.readouterr().err


def test_interrupt_ends_the_stream(tmp_path: Path, runtime: Runtime) -> None:
    argv = [sys.executable, "-m", "neuronsim", "monitor", "--period", "10ms", "--state-dir", str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert json.loads(process.stdout.readline())["neuron_runtime_data"]
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 0
        assert process.stderr.read() == ""
