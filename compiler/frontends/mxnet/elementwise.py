"""Operators on each element: activations, arithmetic between tensors and with a number, comparisons, unary maths."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from compiler.frontends.mxnet.call import Call, operator
from compiler.frontends.mxnet.windows import cube_root
from compiler.ir import numpy_dtype

Binary = Callable[[Call, str, str], str]
Unary = Callable[[Call, str], str]


def is_real(c: Call, x: str) -> bool:
    """Whether the elements are floating-point numbers."""
    return numpy_dtype(c.dtype(x)).kind not in "biu"


# ---- two operands ------------------------------------------------------------------------------------------------


def _onnx(op: str) -> Binary:
    return lambda c, a, b: c.do(op, a, b)


def _modulo(c: Call, a: str, b: str) -> str:
    """The remainder with the divisor's sign, 0 for a divisor of 0 (mshadow_op::mod)."""
    if not is_real(c, a):
        return c.do("Mod", a, b)
    zero = c.like(a, 0)
    rest = c.do("Mod", a, b, fmod=1)
    other_sign = c.do("Xor", c.do("Less", rest, zero), c.do("Less", b, zero))
    moved = c.do("And", other_sign, c.do("Not", c.do("Equal", rest, zero)))
    found = c.do("Where", moved, c.do("Add", rest, b), rest)
    return c.do("Where", c.do("Equal", b, zero), zero, found)


def _hypotenuse(c: Call, a: str, b: str) -> str:
    return c.do("Sqrt", c.do("Add", c.do("Mul", a, a), c.do("Mul", b, b)))


def _truth(op: str) -> Binary:
    """And, Or and Xor of "is not zero"."""
    def compute(c: Call, a: str, b: str) -> str:
        return c.do(op, *(c.cast(v, "bool") for v in (a, b)))

    return compute


def _not_equal(c: Call, a: str, b: str) -> str:
    return c.do("Not", c.do("Equal", a, b))


_ARITHMETIC: dict[str, Binary] = {
    "add": _onnx("Add"), "sub": _onnx("Sub"), "mul": _onnx("Mul"), "div": _onnx("Div"), "mod": _modulo,
    "power": _onnx("Pow"), "maximum": _onnx("Max"), "minimum": _onnx("Min"), "hypot": _hypotenuse,
}
_COMPARISONS: dict[str, Binary] = {
    "equal": _onnx("Equal"), "not_equal": _not_equal, "greater": _onnx("Greater"), "lesser": _onnx("Less"),
    "greater_equal": _onnx("GreaterOrEqual"), "lesser_equal": _onnx("LessOrEqual"),
    "logical_and": _truth("And"), "logical_or": _truth("Or"), "logical_xor": _truth("Xor"),
}
#: name in the tables above -> MXNet's names, of tensors and of a tensor with a number.
_TENSORS: dict[str, str] = {
    "add": "elemwise_add broadcast_add broadcast_plus _plus _add _Plus _grad_add _sparse_elemwise_add "
           "_sparse_broadcast_add _sparse_broadcast_plus _npi_add",
    "sub": "elemwise_sub broadcast_sub broadcast_minus _minus _sub _Minus _sparse_elemwise_sub "
           "_sparse_broadcast_sub _sparse_broadcast_minus _npi_subtract",
    "mul": "elemwise_mul broadcast_mul _mul _Mul _sparse_elemwise_mul _sparse_broadcast_mul _npi_multiply",
    "div": "elemwise_div broadcast_div _div _Div _sparse_elemwise_div _sparse_broadcast_div _npi_true_divide",
    "mod": "broadcast_mod _mod _Mod _npi_mod",
    "power": "broadcast_power _power _Power _npi_power",
    "maximum": "broadcast_maximum _maximum _Maximum _npi_maximum",
    "minimum": "broadcast_minimum _minimum _Minimum _npi_minimum",
    "hypot": "broadcast_hypot _hypot _Hypot _npi_hypot",
    "equal": "broadcast_equal _equal _Equal _npi_equal",
    "not_equal": "broadcast_not_equal _not_equal _Not_Equal _npi_not_equal",
    "greater": "broadcast_greater _greater _Greater _npi_greater",
    "lesser": "broadcast_lesser _lesser _Lesser _npi_less",
    "greater_equal": "broadcast_greater_equal _greater_equal _Greater_Equal _npi_greater_equal",
    "lesser_equal": "broadcast_lesser_equal _lesser_equal _Lesser_Equal _npi_less_equal",
    "logical_and": "broadcast_logical_and _logical_and _Logical_And",
    "logical_or": "broadcast_logical_or _logical_or _Logical_Or",
    "logical_xor": "broadcast_logical_xor _logical_xor _Logical_Xor",
}
_NUMBER: dict[str, str] = {
    "add": "_plus_scalar _PlusScalar __add_scalar__ _npi_add_scalar",
    "sub": "_minus_scalar _MinusScalar __sub_scalar__ _npi_subtract_scalar",
    "mul": "_mul_scalar _MulScalar __mul_scalar__ _npi_multiply_scalar",
    "div": "_div_scalar _DivScalar __div_scalar__ _npi_true_divide_scalar",
    "mod": "_mod_scalar _ModScalar _npi_mod_scalar",
    "power": "_power_scalar _PowerScalar __pow_scalar__ _npi_power_scalar",
    "maximum": "_maximum_scalar _MaximumScalar _npi_maximum_scalar",
    "minimum": "_minimum_scalar _MinimumScalar _npi_minimum_scalar",
    "hypot": "_hypot_scalar _HypotScalar _npi_hypot_scalar",
    "equal": "_equal_scalar _EqualScalar _npi_equal_scalar",
    "not_equal": "_not_equal_scalar _NotEqualScalar _npi_not_equal_scalar",
    "greater": "_greater_scalar _GreaterScalar _npi_greater_scalar",
    "lesser": "_lesser_scalar _LesserScalar _npi_less_scalar",
    "greater_equal": "_greater_equal_scalar _GreaterEqualScalar _npi_greater_equal_scalar",
    "lesser_equal": "_lesser_equal_scalar _LesserEqualScalar _npi_less_equal_scalar",
    "logical_and": "_logical_and_scalar _LogicalAndScalar",
    "logical_or": "_logical_or_scalar _LogicalOrScalar",
    "logical_xor": "_logical_xor_scalar _LogicalXorScalar",
}
#: The same with the number first.
_NUMBER_FIRST: dict[str, str] = {
    "sub": "_rminus_scalar _RMinusScalar __rsub_scalar__ _npi_rsubtract_scalar",
    "div": "_rdiv_scalar _RDivScalar __rdiv_scalar__ _npi_rtrue_divide_scalar",
    "mod": "_rmod_scalar _RModScalar _npi_rmod_scalar",
    "power": "_rpower_scalar _RPowerScalar __rpow_scalar__ _npi_rpower_scalar",
}


def _answer(c: Call, kind: str, a: str, b: str) -> str:
    """Apply a row of the tables; comparisons give numbers, but in the numpy interface."""
    if kind in _ARITHMETIC:
        return _ARITHMETIC[kind](c, a, b)
    dtype = "bool" if c.op.startswith("_npi_") else c.dtype(a)
    return c.cast(_COMPARISONS[kind](c, a, b), dtype)


def matched(c: Call, a: str, b: str) -> tuple[str, str]:
    """Two operands in one element type, as the numpy interface promotes them; true division makes integers real."""
    types = [numpy_dtype(c.dtype(v)) for v in (a, b)]
    if "true_divide" in c.op and all(t.kind in "biu" for t in types):
        wanted = np.dtype("float32")
    elif types[0] == types[1]:
        return a, b
    else:
        reals = [t for t in types if t.kind not in "biu"]
        wanted = reals[0] if len(reals) == 1 else np.promote_types(*types)
    return c.cast(a, wanted.name), c.cast(b, wanted.name)


def _register_binary(kind: str, tensors: str) -> None:
    @operator(*tensors.split())
    def convert(c: Call) -> str:
        return _answer(c, kind, *(matched(c, c[0], c[1]) if c.op.startswith("_npi_") else (c[0], c[1])))


def _register_scalar(kind: str, names: str, number_first: bool) -> None:
    @operator(*names.split())
    def convert(c: Call) -> str:
        number, x = c.real("scalar", 1.0), c.x
        integral = c.op.startswith("_npi_") and not is_real(c, x)
        if integral and ("true_divide" in c.op or not number.is_integer()):
            x = c.cast(x, "float32")
        scalar = c.b.add(c.like(x, number))
        return _answer(c, kind, *((scalar, x) if number_first else (x, scalar)))


for _kind, _names in _TENSORS.items():
    _register_binary(_kind, _names)
for _kind, _names in _NUMBER.items():
    _register_scalar(_kind, _names, number_first=False)
for _kind, _names in _NUMBER_FIRST.items():
    _register_scalar(_kind, _names, number_first=True)


@operator("_npi_isnan", "_npi_isinf", "_npi_isfinite", "_npi_isposinf", "_npi_isneginf")
def _classified(c: Call) -> str:
    if c.op == "_npi_isnan":
        return c.do("IsNaN", c.x)
    if c.op == "_npi_isfinite":
        return c.do("Not", c.do("Or", c.do("IsNaN", c.x), c.do("IsInf", c.x)))
    return c.do("IsInf", c.x, detect_negative=int("pos" not in c.op), detect_positive=int("neg" not in c.op))


@operator("add_n", "ElementWiseSum", "_sparse_add_n", "_sparse_ElementWiseSum")
def _add_n(c: Call) -> str:
    return c.do("Sum", *c.inputs) if len(c) > 1 else c.x


# ---- one operand -------------------------------------------------------------------------------------------------


def _plain(op: str) -> Unary:
    return lambda c, x: c.do(op, x)


def _affine(factor: float) -> Unary:
    return lambda c, x: c.do("Mul", x, c.like(x, factor))


def _logarithm(base: float) -> Unary:
    return lambda c, x: c.do("Mul", c.do("Log", x), c.like(x, 1 / math.log(base)))


def _rounded(c: Call, x: str) -> str:
    """Halves away from zero."""
    return c.do("Mul", c.do("Sign", x), c.do("Floor", c.do("Add", c.do("Abs", x), c.like(x, 0.5))))


def _rounded_down(c: Call, x: str) -> str:
    """Halves towards minus infinity (mshadow_op::rint)."""
    return c.do("Ceil", c.do("Sub", x, c.like(x, 0.5)))


def _truncated(c: Call, x: str) -> str:
    return c.do("Mul", c.do("Sign", x), c.do("Floor", c.do("Abs", x)))


def _is_zero(c: Call, x: str) -> str:
    return c.cast(c.do("Equal", x, c.like(x, 0)), "bool" if c.op.startswith("_npi_") else c.dtype(x))


_UNARY: dict[str, Unary] = {
    "abs _npi_absolute": _plain("Abs"), "sign _contrib_sign_ste": _plain("Sign"), "negative": _plain("Neg"),
    "ceil": _plain("Ceil"), "floor": _plain("Floor"), "exp": _plain("Exp"), "log": _plain("Log"),
    "sqrt": _plain("Sqrt"), "erf _npx_erf": _plain("Erf"), "reciprocal": _plain("Reciprocal"),
    "sin": _plain("Sin"), "cos": _plain("Cos"), "tan": _plain("Tan"), "sinh": _plain("Sinh"), "cosh": _plain("Cosh"),
    "tanh": _plain("Tanh"), "arcsin": _plain("Asin"), "arccos": _plain("Acos"), "arctan": _plain("Atan"),
    "arcsinh": _plain("Asinh"), "arccosh": _plain("Acosh"), "arctanh": _plain("Atanh"),
    "relu _npx_relu": _plain("Relu"), "sigmoid _npx_sigmoid": _plain("Sigmoid"), "softsign": _plain("Softsign"),
    "square": lambda c, x: c.do("Mul", x, x),
    "rsqrt": lambda c, x: c.do("Reciprocal", c.do("Sqrt", x)),
    "cbrt": cube_root, "rcbrt": lambda c, x: c.do("Reciprocal", cube_root(c, x)),
    "log2": _logarithm(2), "log10": _logarithm(10),
    "log1p": lambda c, x: c.do("Log", c.do("Add", x, c.like(x, 1))),
    "expm1": lambda c, x: c.do("Sub", c.do("Exp", x), c.like(x, 1)),
    "degrees": _affine(180 / math.pi), "radians": _affine(math.pi / 180),
    "round _contrib_round_ste": _rounded, "rint": _rounded_down, "fix": _truncated, "trunc": _truncated,
    "logical_not": _is_zero,
}
#: Spellings that only the numpy and sparse interfaces have beside these are in the registry by prefix.
_NO_SPARSE = {"erf", "reciprocal", "softsign", "rcbrt", "logical_not"}
_NO_NUMPY = {"erf", "relu", "sigmoid", "softsign", "rsqrt", "rcbrt", "round", "erfinv"}


def _register_unary(names: list[str], compute: Unary) -> None:
    first = names[0]
    every = names + ([] if first in _NO_SPARSE else [f"_sparse_{n}" for n in names if not n.startswith("_np")])
    every += [] if first in _NO_NUMPY else [f"_npi_{first}"]

    @operator(*dict.fromkeys(every))
    def convert(c: Call) -> str:
        x = c.x
        if c.op.startswith("_npi_") and not is_real(c, x) and first not in ("abs", "sign", "negative", "square",
                                                                           "logical_not"):
            x = c.cast(x, "float32")
        return compute(c, x)


for _names, _compute in _UNARY.items():
    _register_unary(_names.split(), _compute)


@operator("_copy", "identity", "BlockGrad", "stop_gradient", "_sparse_stop_gradient", "MakeLoss", "make_loss",
          "_sparse_make_loss", "_contrib_gradientmultiplier", "_identity_with_attr_like_rhs", "_copyto", "_np_copy",
          "IdentityAttachKLSparseReg", "_CrossDeviceCopy", "cast_storage", "_sparse_cast_storage",
          "_npx_constraint_check")
def _identity(c: Call) -> str:
    return c.x


@operator("Dropout", "_npx_dropout", outputs=("output", "mask"))
def _dropout(c: Call) -> str:
    if c.text("mode", "training", ("training", "always")) == "always" and c.real("p", 0.5) > 0:
        c.b.note(f"dropout {c.name!r} would drop in inference too (mode 'always'); it is left out")
    return c.x


@operator("clip", "_sparse_clip", "_npi_clip")
def _clip(c: Call) -> str:
    low, high = ("" if c.is_none(k) else c.like(c.x, c.real(k)) for k in ("a_min", "a_max"))
    return c.do("Clip", c.x, low, high)


@operator("Cast", "cast", "amp_cast", "_npx_cast", "_npi_cast")
def _cast(c: Call) -> str:
    return c.cast(c.x, c.type("dtype", "float32"))


@operator("amp_multicast")
def _multicast(c: Call) -> list[str]:
    widths = [numpy_dtype(c.dtype(v)).itemsize for v in c.inputs]
    chosen = min(widths) if c.flag("cast_narrow") else max(widths)
    return [c.cast(v, c.dtype(c.inputs[widths.index(chosen)])) for v in c.inputs]
