"""Flags of Neuron's compilers, as `compiler_args` of the front doors has them, as options of the compiler."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from isa.errors import ErrorList, NeuronError


class FlagError(NeuronError):
    """A compiler flag that is not known, or has no value that can be meant."""

    code = "COMPILER_FLAG"


#: flag of neuron-cc and neuronx-cc -> option of the compiler; "" has no effect on results here
_FLAGS = {
    "--auto-cast": "auto_cast", "--auto-cast-type": "auto_cast_type", "--optlevel": "opt_level", "-O": "opt_level",
    "--neuroncore-pipeline-cores": "neuroncore_pipeline_cores", "--num-neuroncores": "neuroncore_pipeline_cores",
    "--target": "target", "--model-type": "", "--verbose": "", "--logfile": "", "--output": "", "--framework": "",
    "--distribution-strategy": "",
}
#: flags without a value that change nothing here
_SWITCHES = frozenset({"--enable-fast-loading-neuron-binaries", "--enable-fast-context-switch",
                       "--enable-saturate-infinity", "--enable-mixed-precision-accumulation"})
#: --fp32-cast and --fast-math of neuron-cc -> (auto_cast, auto_cast_type)
_CASTS = {"all": ("all", "bf16"), "matmult": ("matmult", "bf16"), "matmult-bf16": ("matmult", "bf16"),
          "matmult-fp16": ("matmult", "fp16"), "all-fp16": ("all", "fp16"), "none": ("matmult", "bf16")}
#: families of instances that `--target` names -> the smallest of each
_TARGETS = {"inf1": "inf1.xlarge", "inf2": "inf2.xlarge", "trn1": "trn1.2xlarge", "trn1n": "trn1n.32xlarge",
            "trn2": "trn2.48xlarge"}


def compiler_options(args: str | Sequence[str] | Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of `neuronsim.compile` for `compiler_args`.

    Args:
        args: flags as one text or a list, or options of `neuronsim.compile` by name.
    Raises: FlagError naming every flag that is not known; ErrorList of several.
    """
    if args is None:
        return {}
    if isinstance(args, Mapping):
        return dict(args)
    words = shlex.split(args) if isinstance(args, str) else [str(a) for a in args]
    found: dict[str, Any] = {}
    errors: list[NeuronError] = []
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if flag[:2] == "-O" and len(flag) > 2:
            flag, equals, value = "-O", "=", flag[2:]
        if flag in _SWITCHES:
            continue
        if flag not in _FLAGS and flag not in ("--fp32-cast", "--fast-math"):
            errors.append(FlagError(f"the compiler flag {flag!r} is not known", code="COMPILER_FLAG", actual=flag,
                                     limit=", ".join(sorted([*_FLAGS, "--fast-math", "--fp32-cast"]))))
            break  # whether it has a value is anybody's guess
        if not equals and not words:
            errors.append(FlagError(f"the compiler flag {flag!r} needs a value", code="COMPILER_FLAG", actual=flag))
            break
        _enter(found, flag, value if equals else words.pop(0), errors)
    if errors:
        raise errors[0] if len(errors) == 1 else ErrorList(errors)
    return found


def _enter(found: dict[str, Any], flag: str, value: str, errors: list[NeuronError]) -> None:
    if flag in ("--fp32-cast", "--fast-math"):
        cast = value.removeprefix("fp32-cast-")
        if cast not in _CASTS:
            errors.append(FlagError(f"{flag} {value} is not known", code="COMPILER_FLAG", actual=value,
                                     limit=", ".join(_CASTS)))
            return
        found["auto_cast"], found["auto_cast_type"] = _CASTS[cast]
    elif flag == "--target":
        found["target"] = _TARGETS.get(value, value)
    elif _FLAGS[flag] == "opt_level" or (_FLAGS[flag] == "neuroncore_pipeline_cores" and value != "auto"):
        if not value.isdigit():
            errors.append(FlagError(f"{flag} takes a number", code="COMPILER_FLAG", actual=value))
            return
        found[_FLAGS[flag]] = int(value)
    elif _FLAGS[flag]:
        found[_FLAGS[flag]] = value
