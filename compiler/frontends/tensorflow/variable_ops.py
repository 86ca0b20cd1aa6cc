"""Variables: their saved values are constants."""
from __future__ import annotations

from compiler.frontends.tensorflow.call import Call
from compiler.frontends.tensorflow.gathering import variable
from compiler.frontends.tensorflow.registry import converter
from compiler.frontends.tensorflow.values import Value, Variable


@converter("VarHandleOp")
def var_handle(c: Call) -> Variable:
    """The resource of a variable."""
    return Variable(c.node.name, c.text("shared_name"))


@converter("VariableV2", "Variable")
def variable_v2(c: Call) -> str:
    """A variable of TensorFlow 1, which is its value."""
    return variable(c, Variable(c.node.name, c.text("shared_name")))


@converter("ReadVariableOp")
def read_variable(c: Call) -> str:
    """The value of a variable."""
    of = c.args[0] if c.args else None
    if isinstance(of, str):
        return of  # frozen: the constant took the variable's place
    if not isinstance(of, Variable):
        raise c.refuse("its input is no variable")
    return variable(c, of)


@converter("DisableCopyOnRead")
def nothing(c: Call) -> list[Value]:
    """Only a hint."""
    return list(c.args)
