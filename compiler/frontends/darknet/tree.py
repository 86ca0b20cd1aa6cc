"""Reads the file of a tree of classes (`tree=` of [softmax] and [region]): a line for each class, name and parent."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from compiler.errors import ModelError
from compiler.frontends.darknet.cfg import Section

_MOST_BYTES = 1 << 24


def read_tree(folder: Path, section: Section, classes: int) -> list[int]:
    """Sizes of the groups of sibling classes, in order: lines with one parent that follow each other (src/tree.c).

    Only the file's name counts: it has to lie beside the weights.

    Raises: ModelError MODEL_INCOMPLETE (no such file), TREE (it is none, or has another number of classes).
    """
    name = PurePosixPath(section.text("tree").replace("\\", "/")).name
    path = folder / name
    if not name or not path.is_file() or path.stat().st_size > _MOST_BYTES:
        raise ModelError("the tree of the classes is not beside the weights", code="MODEL_INCOMPLETE",
                         where=section.where, actual=section.text("tree"), help=f"copy it to {path}")
    parents = [line.split() for line in path.read_text("utf-8", "replace").splitlines() if line.strip()]
    if len(parents) != classes or any(len(p) < 2 for p in parents):
        raise ModelError("the tree does not have a line for every class", code="TREE", where=str(path),
                         limit=f"{classes} lines of name and parent", actual=f"{len(parents)} lines")
    sizes: list[int] = []
    last = None
    for _, parent, *_ in parents:
        if parent != last:
            sizes.append(0)
        sizes[-1] += 1
        last = parent
    return sizes
