"""Neuron's environment variables that say which cores a process gets and how they are grouped.

    NEURON_RT_VISIBLE_CORES   exactly these: 3, 4-7, 0-1,2-3; wins over the next
    NEURON_RT_NUM_CORES       so many, the first free ones that are consecutive; 0 = all
    NEURONCORE_GROUP_SIZES    2,4,3,4: groups of consecutive cores; 4x1: one group of four single-core replicas
    NEURON_LOGICAL_NC_CONFIG  physical cores of one logical core; all other numbers count logical cores
    NEURON_PROCESS_TAG        the name tools show

and those that say how models are loaded, each true or false (the default):

    NEURON_RT_VALIDATE_HASH                   hash every byte of a NEFF before it is loaded
    NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS   copies of a model on one device share its weights
    NEURON_RT_ALLOW_LEGACY_NEFF               try NEFFs of an earlier generation

Nothing set means every core of the instance and no groups.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isa.target import Target
from isa.topology import Topology
from neuronsim.runtime.status import NrtError, NrtStatus

VISIBLE_CORES = "NEURON_RT_VISIBLE_CORES"
NUM_CORES = "NEURON_RT_NUM_CORES"
GROUP_SIZES = "NEURONCORE_GROUP_SIZES"
LOGICAL_NC_CONFIG = "NEURON_LOGICAL_NC_CONFIG"
PROCESS_TAG = "NEURON_PROCESS_TAG"
VALIDATE_HASH = "NEURON_RT_VALIDATE_HASH"
SHARED_WEIGHTS = "NEURON_RT_MULTI_INSTANCE_SHARED_WEIGHTS"
ALLOW_LEGACY = "NEURON_RT_ALLOW_LEGACY_NEFF"
_SWITCHES = {"": False, "0": False, "false": False, "1": True, "true": True}
_DIGITS = 9  # more than any machine needs, and no number takes long to read


@dataclass(frozen=True)
class GroupSize:
    """One entry of NEURONCORE_GROUP_SIZES: `replicas` times `cores` consecutive cores."""

    cores: int
    replicas: int = 1

    @property
    def total(self) -> int:
        return self.cores * self.replicas


@dataclass(frozen=True)
class Environment:
    """What the variables ask for on one instance, checked against its size.

    Attributes:
        lnc: physical cores of one logical core.
        visible: exactly these cores, in ascending order, or None.
        count: any so many consecutive cores; None means all of them. Not looked at where `visible` is given.
        groups: sizes of the groups in core order; () without groups.
        tag: name of the process for tools, or "".
        validate_hash, shared_weights, allow_legacy: how models are loaded.
    """

    lnc: int
    visible: tuple[int, ...] | None = None
    count: int | None = None
    groups: tuple[GroupSize, ...] = ()
    tag: str = ""
    validate_hash: bool = False
    shared_weights: bool = False
    allow_legacy: bool = False


def read(target: Target, environ: Mapping[str, str] | None = None) -> Environment:
    """The variables in `environ` (default: of this process), for an instance like `target`.

    An empty variable counts as unset. Raises: NrtError (NRT_INVALID) for what is malformed, names a core twice or one
    that the instance does not have.
    """
    given = os.environ if environ is None else environ
    values = {name: given.get(name, "").strip() for name in (VISIBLE_CORES, NUM_CORES, GROUP_SIZES, LOGICAL_NC_CONFIG)}
    lnc = logical_size(target, values[LOGICAL_NC_CONFIG])
    cores = Topology(target, lnc).cores
    visible = _visible(values[VISIBLE_CORES], cores) if values[VISIBLE_CORES] else None
    groups = _groups(values[GROUP_SIZES], cores) if values[GROUP_SIZES] else ()
    count = _count(values[NUM_CORES], cores) if values[NUM_CORES] else None
    needed = sum(g.total for g in groups)
    owned = len(visible) if visible is not None else count
    if owned is None and not values[NUM_CORES]:
        count = needed or None
    elif needed > (cores if owned is None else owned):
        raise _invalid(GROUP_SIZES, values[GROUP_SIZES], f"the groups need {needed} cores, the process has {owned}",
                       limit=owned, actual=needed, help=f"ask for more with {VISIBLE_CORES} or {NUM_CORES}")
    switches = (_switch(name, given.get(name, "").strip()) for name in (VALIDATE_HASH, SHARED_WEIGHTS, ALLOW_LEGACY))
    return Environment(lnc, visible, count, groups, given.get(PROCESS_TAG, "").strip(), *switches)


def logical_size(target: Target, text: str) -> int:
    """Physical cores of one logical core, as NEURON_LOGICAL_NC_CONFIG asks; "" means the target's default."""
    if not text:
        return target.lnc_default
    size = int(text) if _is_number(text) else 0
    if size not in target.lnc_sizes:
        raise _invalid(LOGICAL_NC_CONFIG, text, f"{target.name} has no logical cores of that size",
                       limit=" or ".join(map(str, target.lnc_sizes)), actual=text)
    return size


def _switch(name: str, text: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise _invalid(name, text, f"{text!r} is neither true nor false", limit="true or false", actual=text)
    return _SWITCHES[text.lower()]


def _visible(text: str, cores: int) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(rf"(\d{{1,{_DIGITS}}})(?:-(\d{{1,{_DIGITS}}}))?", part.strip(), re.ASCII)
        if match is None:
            raise _invalid(VISIBLE_CORES, text, f"{part.strip()!r} is neither a core nor a range of cores",
                           help=f"{VISIBLE_CORES}=4 or {VISIBLE_CORES}=4-7")
        first = int(match[1])
        last = int(match[2] or first)
        if last < first:
            raise _invalid(VISIBLE_CORES, text, f"the range {part.strip()} ends before it begins",
                           help=f"{VISIBLE_CORES}={last}-{first}")
        if last >= cores:
            raise _invalid(VISIBLE_CORES, text, f"the instance has no core {last}", limit=f"0-{cores - 1}", actual=last)
        twice = [core for core in range(first, last + 1) if core in found]
        if twice:
            raise _invalid(VISIBLE_CORES, text, f"core {twice[0]} is named twice: the parts of the list overlap")
        found += range(first, last + 1)
    if found != list(range(found[0], found[0] + len(found))):
        raise _invalid(VISIBLE_CORES, text, "the cores are not consecutive",
                       help="the cores of a process are one ascending range: start one process for each range")
    return tuple(found)


def _count(text: str, cores: int) -> int | None:
    if not _is_number(text) or int(text) > cores:
        raise _invalid(NUM_CORES, text, f"{text!r} is no number of cores of this instance", limit=f"0..{cores}",
                       actual=text, help=f"{NUM_CORES}=0, or leaving it unset, takes all of them")
    return int(text) or None


def _groups(text: str, cores: int) -> tuple[GroupSize, ...]:
    groups = tuple(_group(part.strip(), text) for part in text.split(","))
    needed = sum(g.total for g in groups)
    if needed > cores:
        raise _invalid(GROUP_SIZES, text, f"the groups need {needed} cores, the instance has {cores}", limit=cores,
                       actual=needed, help="use fewer or smaller groups, or a larger instance: neuronsim ls")
    return groups


def _group(part: str, text: str) -> GroupSize:
    replicas, times, size = part.partition("x")
    if not times and _is_number(part) and int(part):
        return GroupSize(int(part))
    if times and _is_number(replicas) and int(replicas) and size == "1":
        return GroupSize(1, int(replicas))
    raise _invalid(GROUP_SIZES, text, f"{part!r} is no size of a group",
                   help=f"{GROUP_SIZES}=2,4 makes groups of 2 and 4 cores, {GROUP_SIZES}=4x1 four single-core replicas")


def _is_number(text: str) -> bool:
    return re.fullmatch(rf"\d{{1,{_DIGITS}}}", text, re.ASCII) is not None


def _invalid(variable: str, value: str, what: str, help: str = "", **sides: Any) -> NrtError:
    return NrtError(NrtStatus.NRT_INVALID, f"{variable}: {what}", where=f"{variable}={value}",
                    help=help or f"unset {variable} for the default", **sides)
