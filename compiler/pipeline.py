"""The graph passes in order, and the loop that runs, verifies and prints them."""
from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Iterable
from typing import TextIO

from compiler.errors import CompileError
from compiler.ir import Graph
from compiler.verify import verify

#: (pass, needs fusion): module `compiler.passes.<name>` with dashes as underscores. Those that need fusion are the ones
#: an ablation turns off; the others bring every model to the operators that lowering knows.
GRAPH_PASSES: tuple[tuple[str, bool], ...] = (
    ("fold-constants", False),
    ("remove-identities", False),
    ("recognise-layer-norm", True),
    ("recognise-activations", True),
    ("expand", False),
    ("canonicalise", False),
    ("fold-constants", False),
    ("remove-identities", False),
    ("sink-transposes", True),
    ("remove-identities", False),
    ("simplify-layout", True),
    ("remove-identities", False),
    ("remove-softmax-guard", True),
    ("fold-pads", True),
    ("strided-channels", True),
    ("fuse-affine", False),
    ("fold-affine", True),
    ("fuse-epilogue", True),
    ("flat-rows", False),
    ("fold-constants", False),
    ("remove-dead", False),
)


def pass_names() -> list[str]:
    """Names that --print-after takes, in order of first use."""
    return list(dict.fromkeys(name for name, _ in GRAPH_PASSES))


def optimise(
    graph: Graph,
    *,
    level: int = 2,
    fusion: bool = True,
    disable: Collection[str] = (),
    print_after: Iterable[str] = (),
    stream: TextIO | None = None,
    check: bool = True,
) -> Graph:
    """Run the graph passes on `graph` in place and return it.

    Args:
        level: 0 runs only the passes that every lowering relies on; from 1 on also the fusing ones.
        fusion: False turns the fusing passes off at any level (for an ablation).
        disable: further passes to leave out, by name.
        print_after: passes after which the graph is written to `stream`; "all" for each.
        stream: where to, stderr by default.
        check: verify the graph after every pass.
    Raises:
        CompileError: PASS_NAME for a name in `disable` or `print_after` that is no pass; VerifyError for a defect.
    """
    shown = set(print_after)
    check_names([*disable, *(shown - {"all"})])
    for name, fuses in GRAPH_PASSES:
        if (fuses and (level < 1 or not fusion)) or name in disable:
            continue
        load_pass(name)(graph)
        if check:
            verify(graph, after=name)
        if shown & {name, "all"}:
            print(f"# after {name}\n{graph.to_text()}", file=stream or sys.stderr)
    return graph


def load_pass(name: str) -> Callable[[Graph], int]:
    """The `run` function of a pass."""
    module = importlib.import_module("compiler.passes." + name.replace("-", "_"))
    run: Callable[[Graph], int] = module.run
    return run


def check_names(names: Iterable[str]) -> None:
    """Raise CompileError (PASS_NAME) for a name that is no pass."""
    for name in names:
        if name not in pass_names():
            raise CompileError(f"there is no graph pass {name!r}", code="PASS_NAME", actual=name,
                               limit=", ".join(pass_names()), help="use one of the names in `limit`")
