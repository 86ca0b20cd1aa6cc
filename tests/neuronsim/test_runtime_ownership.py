"""Several runtimes on one simulated instance: disjoint cores, whatever becomes of their processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from neuronsim.runtime import Instance, NrtError, NrtStatus
from neuronsim.runtime.environment import LOGICAL_NC_CONFIG, NUM_CORES, PROCESS_TAG, VISIBLE_CORES
from neuronsim.runtime.ownership import STATE_DIR, Owner, Registry, state_folder

HOLD = """
import sys, neuronsim
instance = neuronsim.Instance("inf1.6xlarge")
print(*instance.cores, flush=True)
sys.stdin.read()
"""


def owners(root: Path) -> list[Owner]:
    return Registry(state_folder("inf1.6xlarge", root)).owners()


@contextmanager
def other_process(root: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns cores until its input ends."""
    environment = {**os.environ, STATE_DIR: str(root), **variables}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        child.cores = [int(c) for c in child.stdout.readline().split()]  # type: ignore[attr-defined]
        try:
            yield child
        finally:
            child.kill()


def test_five_runtimes_of_three_cores_and_no_sixth(tmp_path: Path) -> None:
    """The documents' example for NEURON_RT_NUM_CORES on 16 cores."""
    with ExitStack() as stack:
        found = [stack.enter_context(Instance("inf1.6xlarge", {NUM_CORES: "3"}, tmp_path)) for _ in range(5)]
        assert [i.cores for i in found] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11), (12, 13, 14)]
        with pytest.raises(NrtError) as caught:
            Instance("inf1.6xlarge", {NUM_CORES: "3"}, tmp_path)
        error = caught.value
        assert (error.status, error.code) == (NrtStatus.NRT_FAILURE, "NRT_FAILURE")
        assert error.what == "NeuronCore(s) not available - Requested:3 Available:1"
        assert "neuronsim ls" in error.help and NUM_CORES in error.help
        found[1].close()
        assert stack.enter_context(Instance("inf1.6xlarge", {NUM_CORES: "2"}, tmp_path)).cores == (3, 4)


def test_a_core_owned_by_another_process(tmp_path: Path) -> None:
    with other_process(tmp_path, NEURON_RT_VISIBLE_CORES="1-2", NEURON_PROCESS_TAG="server") as child:
        assert child.cores == [1, 2]  # type: ignore[attr-defined]
        for cores, message in (("1", "Requested:nc1 Available:0"), ("2-5", "Requested:nc2-nc5 Available:3")):
            with pytest.raises(NrtError) as caught:
                Instance("inf1.6xlarge", {VISIBLE_CORES: cores}, tmp_path)
            assert caught.value.status == NrtStatus.NRT_FAILURE and message in caught.value.what
            assert VISIBLE_CORES in caught.value.help
        with pytest.raises(NrtError):
            Instance("inf1.6xlarge", {}, tmp_path)  # all of them
        with Instance("inf1.6xlarge", {NUM_CORES: "2"}, tmp_path) as instance:
            assert instance.cores == (3, 4)
            assert [(o.pid, o.cores, o.tag) for o in owners(tmp_path)] == [
                (child.pid, (1, 2), "server"), (os.getpid(), (3, 4), "")]
        with Instance("inf1.6xlarge", {VISIBLE_CORES: "0-15"}, private=True) as alone:
            assert len(alone.cores) == 16


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_cores_of_a_dead_process_are_free(tmp_path: Path, how: signal.Signals) -> None:
    with other_process(tmp_path) as child:
        assert len(child.cores) == 16  # type: ignore[attr-defined]
        child.send_signal(how)
        child.wait()
        with Instance("inf1.6xlarge", {}, tmp_path) as instance:
            assert len(instance.cores) == 16
    assert [p.name for p in state_folder("inf1.6xlarge", tmp_path).iterdir()] == ["mutex"]


def test_logical_cores_of_two_sizes_never_overlap(tmp_path: Path) -> None:
    """Physical cores 0-3 are the logical cores 0-1 of two each."""
    with (
        Instance("trn2.48xlarge", {VISIBLE_CORES: "0-1"}, tmp_path),
        Instance("trn2.48xlarge", {LOGICAL_NC_CONFIG: "1", NUM_CORES: "1"}, tmp_path) as single,
    ):
        assert single.cores == (4,)
        with Instance("trn2.48xlarge", {NUM_CORES: "1"}, tmp_path) as double:
            assert double.cores == (3,)


def test_instances_of_other_names_are_other_machines(tmp_path: Path) -> None:
    with Instance("inf1.xlarge", {}, tmp_path), Instance("inf1.2xlarge", {}, tmp_path) as other:
        assert len(other.cores) == 4


def test_a_name_never_leaves_the_folder(tmp_path: Path) -> None:
    for name in ("../../etc", "..", ".", "a/b"):
        assert state_folder(name, tmp_path).resolve().parent == tmp_path.resolve()


def test_asking_who_owns_cores_leaves_nothing_behind(tmp_path: Path) -> None:
    assert owners(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_an_owner_says(tmp_path: Path) -> None:
    with Instance("inf1.6xlarge", {PROCESS_TAG: "bert", NUM_CORES: "4"}, tmp_path):
        (owner,) = owners(tmp_path)
        assert (owner.pid, owner.tag, owner.cores) == (os.getpid(), "bert", (0, 1, 2, 3))
        assert owner.chip_bytes == {0: 4 * (96 << 20)}


def test_claims_at_the_same_moment_are_disjoint(tmp_path: Path) -> None:
    """Six processes that want 4 of 16 cores: four get them, two are refused."""
    environment = {**os.environ, STATE_DIR: str(tmp_path), NUM_CORES: "4"}
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", HOLD], env=environment, text=True, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            )
            for _ in range(6)
        ]  # fmt: skip
        found = [child.stdout.readline().split() for child in children]  # type: ignore[union-attr]
        for child in children:
            child.kill()
        refused = [child.stderr.read() for child, cores in zip(children, found) if not cores]  # type: ignore[union-attr]
    assert sorted(int(core) for cores in found for core in cores) == list(range(16))
    assert len(refused) == 2 and all("NeuronCore(s) not available" in text for text in refused)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"chip_bytes": 3}', "not JSON"])
def test_a_living_file_that_says_nothing(tmp_path: Path, text: str) -> None:
    folder = state_folder("inf1.6xlarge", tmp_path)
    Instance("inf1.6xlarge", {}, tmp_path).close()
    with open(folder / "runtime-1-x.json", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(text)
        file.flush()
        with pytest.raises(NrtError) as caught:
            Instance("inf1.6xlarge", {}, tmp_path)
        assert caught.value.status == NrtStatus.NRT_FAILURE and STATE_DIR in caught.value.help
    Instance("inf1.6xlarge", {}, tmp_path).close()


def test_a_state_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NrtError) as caught:
        Instance("inf1.xlarge", {}, tmp_path / "file")
    assert caught.value.status == NrtStatus.NRT_FAILURE and STATE_DIR in caught.value.help
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "inf1.xlarge").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NrtError):
        Instance("inf1.xlarge", {}, tmp_path)
