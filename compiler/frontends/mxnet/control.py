"""Control flow: loops over data of known length are unrolled, branches are both computed and one is chosen.

Attributes (src/operator/control_flow.cc) say which operand goes to which variable of a body, in the order in which the
body has its variables.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compiler.errors import ModelError
from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.nodes import convert, live_nodes
from compiler.frontends.mxnet.symbol import Symbol

#: More rounds are not unrolled.
_MOST_ROUNDS = 512


def body(c: Call, index: int) -> Symbol:
    """The body of that number. Raises: ModelError MODEL_INVALID."""
    if index >= len(c.subgraphs):
        raise ModelError(f"{c.op} lacks a body", code="MODEL_INVALID", limit=index + 1, actual=len(c.subgraphs))
    return c.subgraphs[index]


def run(c: Call, body: Symbol, values: Sequence[str]) -> list[str]:
    """The results of a body whose variables have these values, in order."""
    names = [n.name for n in body.nodes if n.is_variable]
    if len(names) != len(values):
        raise ModelError(f"{c.op} gives a body the wrong number of inputs", code="MODEL_INVALID", limit=len(names),
                         actual=len(values))
    results = convert(c.b, body, live_nodes(body), dict(zip(names, values, strict=True)))
    lost = [h for h in body.heads if h not in results]
    if lost:
        raise ModelError(f"a body of {c.op} cannot be read", code="MODEL_INVALID")
    return [results[h] for h in body.heads]


def _placed(c: Call, count: int, *parts: tuple[Sequence[int], Sequence[str]]) -> list[str]:
    """Values put at the positions given with them."""
    found = {place: value for places, values in parts for place, value in zip(places, values, strict=True)}
    if sorted(found) != list(range(count)):
        raise ModelError(f"the inputs of {c.op} and of its body do not belong together", code="MODEL_INVALID",
                         actual=sorted(found))
    return [found[k] for k in range(count)]


def _rounds(c: Call, count: int) -> range:
    if count > _MOST_ROUNDS:
        raise c.unsupported(f"{count} rounds are more than the {_MOST_ROUNDS} that are unrolled")
    return range(count)


def _stacked(c: Call, rounds: Sequence[Sequence[str]]) -> list[str]:
    return [c.do("Concat", *(c.reshape(v, [1, *c.shape(v)]) for v in column), axis=0)
            for column in zip(*rounds, strict=True)]


@operator("_foreach")
def _foreach(c: Call) -> list[str]:
    """Operands: data, whose rows the body takes one by one, then states, then what does not change."""
    data, states, rest = (list(c.ints(f"{k}_locs", ())) for k in ("in_data", "in_state", "remain"))
    count, outputs = len(data), c.integer("num_out_data")
    values = c.inputs[count : count + len(states)]
    fixed = c.inputs[count + len(states) :]
    found = []
    for k in _rounds(c, c.shape()[0]):
        rows = [c.do("Gather", v, np.int64(k), axis=0) for v in c.inputs[:count]]
        results = run(c, body(c, 0), _placed(c, len(c), (data, rows), (states, values), (rest, fixed)))
        found.append(results[:outputs])
        values = results[outputs:]
    return [*_stacked(c, found), *values]


@operator("_while_loop")
def _while_loop(c: Call) -> list[str]:
    """Rounds up to the most there may be; behind the last one states stay and outputs are 0."""
    test, step, loop = (list(c.ints(k)) for k in ("cond_input_locs", "func_input_locs", "func_var_locs"))
    outputs, operands = c.integer("num_out_data"), list(c.inputs)
    if any(not 0 <= k < len(c) for k in (*test, *step)) or any(not 0 <= k < len(step) for k in loop):
        raise c.wrong("func_var_locs", loop, f"positions among {len(c)} inputs")
    changing = [step[k] for k in loop]  # operands that are states
    found, active = [], ""
    for _ in _rounds(c, c.integer("max_iterations")):
        goes_on = c.cast(c.reshape(run(c, body(c, 0), [operands[k] for k in test])[0], [1]), "bool")
        active = c.do("And", active, goes_on) if active else goes_on
        results = run(c, body(c, 1), [operands[k] for k in step])
        found.append([c.do("Where", active, v, c.like(v, 0)) for v in results[:outputs]])
        for place, value in zip(changing, results[outputs:], strict=True):
            operands[place] = c.do("Where", active, value, operands[place])
    return [*_stacked(c, found), *(operands[k] for k in changing)]


@operator("_cond")
def _cond(c: Call) -> list[str]:
    places = [list(c.ints(k, ())) for k in ("cond_input_locs", "then_input_locs", "else_input_locs")]
    if any(not 0 <= p < len(c) for some in places for p in some):
        raise c.wrong("cond_input_locs", places, f"positions among {len(c)} inputs")
    (chosen, *_), yes, no = (run(c, body(c, k), [c[p] for p in some]) for k, some in enumerate(places))
    condition = c.cast(c.reshape(chosen, [1]), "bool")
    return [c.reshape(c.do("Where", condition, a, b), c.shape(a)) for a, b in zip(yes, no, strict=True)]
