"""The two forms of a saved Keras model, HDF5 and `.keras`, read into a network with its weights."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.errors import ModelError
from compiler.frontends.keras.config import invalid, parse
from compiler.frontends.keras.hdf5 import MOST_EXPANSION, Hdf5, opened
from compiler.frontends.keras.network import MODELS, Layer, Network
from compiler.frontends.keras.structure import read_layer
from compiler.frontends.keras.weights import Variables, from_groups, from_lists

_SAVE_WHOLE = 'save the whole model, with its structure: model.save("model.keras")'
#: An archive has configuration, metadata, weights, and perhaps vocabularies.
_MOST_MEMBERS = 4096


@dataclass
class Saved:
    """A model as it was saved.

    Attributes:
        model: the outermost layer; its network is what is inside. version: of Keras, as numbers. tf: whether it was
            TensorFlow's own Keras.
    """

    model: Layer
    version: tuple[int, ...]
    tf: bool

    @property
    def network(self) -> Network:
        """What is inside the model."""
        assert self.model.network is not None
        return self.model.network


#: Looks at a model before its weights are read.
Check = Callable[[Network], None]


def read(path: Path, variables: Variables, check: Check) -> Saved:
    """Read a model file, whichever of the two forms its content is.

    Raises: ModelError MODEL_INVALID, MODEL_UNSAFE, MODEL_LIMIT, WEIGHTS_ONLY (a file without the structure),
        MODEL_SUBCLASSED; as `check`.
    """
    if not path.is_file():
        raise ModelError("there is no such file", code="MODEL_MISSING", where=str(path))
    if zipfile.is_zipfile(path):
        return _archive(path, variables, check)
    return _h5(opened(path, str(path)), variables, check)


def _h5(file: Hdf5, variables: Variables, check: Check) -> Saved:
    text = file.text("/", "model_config")
    if text is None:
        raise ModelError("the file holds weights without the model they belong to", code="WEIGHTS_ONLY",
                         where=file.where, help=_SAVE_WHOLE)
    saved = _model(parse(text, file.where), file.text("/", "keras_version") or "1", file.where)
    check(saved.network)
    from_lists(file, "model_weights", saved.network, variables)
    return saved


def _archive(path: Path, variables: Variables, check: Check) -> Saved:
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if len(archive.infolist()) > _MOST_MEMBERS:
                raise ModelError("the archive has more files than a Keras model", code="MODEL_LIMIT", where=where,
                                 limit=_MOST_MEMBERS, actual=len(archive.infolist()))
            config = _member(archive, "config.json", path)
            metadata = parse(_member(archive, "metadata.json", path).decode(errors="replace"), where)
            version = str(metadata.get("keras_version", "3"))
            saved = _model(parse(config.decode(errors="replace"), where), version, where)
            check(saved.network)
            weights = _member(archive, "model.weights.h5", path)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise invalid("the archive is damaged", where, str(error)[:100]) from None
    from_groups(opened(weights, f"{where}: model.weights.h5"), saved.network, variables)
    return saved


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> bytes:
    """One file of the archive, once its size is known to be one that the archive can hold."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ModelError(f"the archive has no {name}", code="MODEL_INVALID", where=str(path),
                         help=_SAVE_WHOLE) from None
    limit = path.stat().st_size * MOST_EXPANSION
    if info.file_size > limit or info.compress_size > path.stat().st_size:
        raise ModelError("a file in the archive claims more bytes than it can hold", code="MODEL_LIMIT",
                         where=f"{path}: {name}", limit=limit, actual=info.file_size)
    with archive.open(info) as file:
        data = file.read(info.file_size + 1)
    if len(data) != info.file_size:
        raise invalid("a file in the archive has not the size it claims", f"{path}: {name}", len(data), info.file_size)
    return data


def _model(config: dict[str, Any], version: str, where: str) -> Saved:
    numbers = tuple(int(n) for n in re.findall(r"\d{1,6}", version)[:3]) or (1,)
    if numbers < (2,):
        raise ModelError("the file was written by Keras 1", code="MODEL_VERSION", where=where, limit="2.0",
                         actual=version[:30], help="load it in Keras 2.2 and save it again")
    kind = config.get("class_name")
    if kind not in MODELS or ">" in str(config.get("registered_name") or ""):
        name = str(config.get("registered_name") or kind)[:80]
        raise ModelError(f"the model is of a class of your own ({name}), whose code is not in the file",
                         code="MODEL_SUBCLASSED", where=where,
                         help="build it as keras.Sequential or keras.Model(inputs, outputs), or export it with "
                              "model.export(folder) and compile the SavedModel")
    model = read_layer(config, where)
    if model.network is None:
        raise ModelError("the configuration of the model states no layers", code="MODEL_SUBCLASSED", where=where,
                         help="build it as keras.Sequential or keras.Model(inputs, outputs)")
    for layer in [model, *model.network.walk()]:
        layer.path = layer.path.removeprefix(f"{model.name}/")
    return Saved(model, numbers, "-tf" in version or numbers >= (2, 4))
