"""The activation functions that recurrent layers name in a list, with the parameters they take from two more lists."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from compiler.ir import Node
from compiler.passes.expansion import Expansion

#: an activation with its parameters, as operators
Activation = Callable[[Expansion, str], str]
Maker = Callable[[float, float], Activation]


def activations(node: Node, default: Sequence[str], directions: int) -> list[list[Activation]]:
    """Functions of every direction. Parameters are taken from their lists in order by the functions that have any.

    Raises: KeyError with the name of a function that is unknown.
    """
    names: list[str] = list(node.attrs.get("activations") or [*default] * directions)
    alphas, betas = (list(node.attrs.get(f"activation_{p}") or []) for p in ("alpha", "beta"))
    made = []
    for name in names:
        maker, alpha, beta = _KINDS[name.lower()]
        a = alphas.pop(0) if alpha is not None and alphas else alpha
        b = betas.pop(0) if beta is not None and betas else beta
        made.append(maker(0.0 if a is None else a, 0.0 if b is None else b))
    each = len(default)
    return [made[d * each:(d + 1) * each] for d in range(directions)]


def _plain(op: str) -> Maker:
    return lambda a, b: lambda f, x: f.unary(op, x)


def _with_alpha(op: str) -> Maker:
    return lambda a, b: lambda f, x: f.unary(op, x, alpha=a)


#: name -> how it is written, default alpha and beta (None: it has none); names compare without case
_KINDS: dict[str, tuple[Maker, float | None, float | None]] = {
    "affine": (lambda a, b: lambda f, x: f.add(f.mul(x, a), b), 1.0, 0.0),
    "elu": (_with_alpha("Elu"), 1.0, None),
    "hardsigmoid": (lambda a, b: lambda f, x: f.unary("HardSigmoid", x, alpha=a, beta=b), 0.2, 0.5),
    "leakyrelu": (_with_alpha("LeakyRelu"), 0.01, None),
    "relu": (_plain("Relu"), None, None),
    "scaledtanh": (lambda a, b: lambda f, x: f.mul(f.unary("Tanh", f.mul(x, b)), a), 1.0, 1.0),
    "sigmoid": (_plain("Sigmoid"), None, None),
    "softplus": (_plain("Softplus"), None, None),
    "softsign": (_plain("Softsign"), None, None),
    "tanh": (_plain("Tanh"), None, None),
    "thresholdedrelu": (_with_alpha("ThresholdedRelu"), 1.0, None),
}
