"""From a path to an ONNX ModelProto, and its tensors to numpy arrays, trusting nothing on the way."""
from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from onnx.helper import tensor_dtype_to_np_dtype

from compiler.errors import ModelError

#: First byte of nearly every ONNX file: field 1 (ir_version), varint.
_IR_VERSION_TAG = 0x08
#: No array of the host can be larger.
MOST_BYTES = 1 << 48


def read_model(path: str | Path) -> onnx.ModelProto:
    """Parse an ONNX file; external data is not read yet.

    Raises:
        ModelError: codes MODEL_MISSING, MODEL_EMPTY, MODEL_TRUNCATED, MODEL_FORMAT.
    """
    path = Path(path)
    where = str(path)
    if not path.is_file():
        kind = "is a directory" if path.is_dir() else "does not exist"
        raise ModelError(f"the model file {kind}", code="MODEL_MISSING", where=where,
                         help="give the path of one .onnx file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"the model file cannot be read: {error.strerror}", code="MODEL_MISSING",
                         where=where) from None
    if not data:
        raise ModelError("the model file is empty", code="MODEL_EMPTY", where=where,
                         help="export or copy the model again; a Git LFS pointer or failed download leaves such files")
    return parse_model(data, where)


def parse_model(data: bytes, where: str = "") -> onnx.ModelProto:
    """Parse the bytes of an ONNX file. Raises: ModelError as `read_model`."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        if data[0] == _IR_VERSION_TAG:
            raise ModelError("the ONNX file is cut off or damaged: it starts like a model but does not parse",
                             code="MODEL_TRUNCATED", where=where, actual=f"{len(data)} bytes",
                             help="compare its size with the original and copy it again") from None
        raise _not_onnx(data, where) from None
    if not model.ir_version or not model.HasField("graph"):
        raise _not_onnx(data, where)
    return model


def _not_onnx(data: bytes, where: str) -> ModelError:
    hint = "a Git LFS pointer: run git lfs pull" if data.startswith(b"version https://git-lfs") else \
        "export the model to ONNX first"
    return ModelError("the file is not an ONNX model", code="MODEL_FORMAT", where=where,
                      actual=f"starts with {data[:8]!r}", help=hint)


def to_array(tensor: onnx.TensorProto, base: Path | None, where: str = "") -> np.ndarray:
    """Return a TensorProto as an array; external data becomes a read-only memory map.

    Args:
        tensor: the tensor.
        base: folder of the model file, or None when the model has no file.
        where: prefix for messages.
    Raises:
        ModelError: codes TENSOR_DATA, TENSOR_DTYPE, EXTERNAL_DATA.
    """
    place = f"{where}{': ' if where else ''}tensor {tensor.name!r}"
    try:
        dtype = np.dtype(tensor_dtype_to_np_dtype(tensor.data_type))
    except KeyError:
        raise ModelError(f"element type number {tensor.data_type} is unknown", code="TENSOR_DTYPE",
                         where=place) from None
    shape = tuple(tensor.dims)
    if any(d < 0 for d in shape):
        raise ModelError("a tensor has a negative dimension", code="TENSOR_DATA", where=place, actual=list(shape))
    if math.prod(max(d, 1) for d in shape) * max(dtype.itemsize, 1) > MOST_BYTES:
        raise ModelError("a tensor is too large to be addressed", code="TENSOR_DATA", where=place, limit=MOST_BYTES,
                         actual=list(shape))
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _external(tensor, dtype, shape, base, place)
    if tensor.HasField("raw_data") and dtype.itemsize > 0 and tensor.data_type not in _PACKED:
        raw = tensor.raw_data
        need = math.prod(shape) * dtype.itemsize
        if len(raw) != need:
            raise ModelError("a tensor has not as many bytes as its shape needs", code="TENSOR_DATA", where=place,
                             limit=need, actual=len(raw), help="the file is damaged: export it again")
        return np.frombuffer(raw, dtype.newbyteorder("<") if dtype.isbuiltin else dtype).reshape(shape)
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # the reader raises many kinds for inconsistent tensors
        raise ModelError(f"a tensor does not match its declaration: {error}", code="TENSOR_DATA", where=place) from None


def embed_tensors(node: onnx.NodeProto, base: Path | None, where: str = "") -> None:
    """Read the external data of a node's tensors, those in its subgraphs included, into the node itself."""
    for attribute in node.attribute:
        graphs = [*attribute.graphs, *([attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else [])]
        for tensor in (*attribute.tensors, attribute.t, *(t for g in graphs for t in g.initializer)):
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                array = to_array(tensor, base, where)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        for graph in graphs:
            for inner in graph.node:
                embed_tensors(inner, base, where)


#: Types with several elements to a byte, and strings: left to onnx's own reader.
_PACKED = {onnx.TensorProto.STRING, *(
    getattr(onnx.TensorProto, name) for name in ("INT4", "UINT4", "FLOAT4E2M1", "INT2", "UINT2")
    if hasattr(onnx.TensorProto, name))}


def _external(tensor: onnx.TensorProto, dtype: np.dtype, shape: tuple[int, ...], base: Path | None,
              place: str) -> np.ndarray:
    keys = {e.key: e.value for e in tensor.external_data}
    path = _safe_path(keys.get("location", ""), base, place)
    size = path.stat().st_size
    try:
        offset = int(keys.get("offset", "0"))
        length = int(keys.get("length", str(size - offset)))
    except ValueError:
        raise ModelError("offset or length of external data is not a number", code="EXTERNAL_DATA",
                         where=place) from None
    need = math.prod(shape) * dtype.itemsize
    if offset < 0 or length < 0 or offset + length > size:
        raise ModelError("external data reaches beyond the end of its file", code="EXTERNAL_DATA", where=place,
                         limit=f"{size} bytes", actual=f"{offset} + {length}", help=f"copy {path.name} again")
    if length != need or tensor.data_type in _PACKED:
        raise ModelError("external data has not as many bytes as the tensor needs", code="EXTERNAL_DATA", where=place,
                         limit=need, actual=length)
    if not need:
        return np.zeros(shape, dtype)
    return np.memmap(path, np.uint8, "r", offset, (need,)).view(np.ndarray).view(dtype).reshape(shape)


def _safe_path(location: str, base: Path | None, place: str) -> Path:
    """The external file, inside the model's own folder. Raises: ModelError EXTERNAL_DATA."""
    if base is None:
        raise ModelError("the model keeps weights in another file but was not read from a file", code="EXTERNAL_DATA",
                         where=place, help="pass the path of the model instead of the model in memory")
    pure = PurePosixPath(location)
    if not location or pure.is_absolute() or PureWindowsPath(location).anchor or ".." in pure.parts:
        raise ModelError("external data must be a relative path inside the model's folder", code="EXTERNAL_DATA",
                         where=place, actual=location)
    path = (base / location).resolve()
    if not path.is_relative_to(base.resolve()):
        raise ModelError("external data leads out of the model's folder", code="EXTERNAL_DATA", where=place,
                         actual=location)
    if not path.is_file():
        raise ModelError("a file of external data is missing", code="EXTERNAL_DATA", where=place, actual=str(path),
                         help="keep it beside the model file")
    return path
