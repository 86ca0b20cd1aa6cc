"""Names, numbers and limits of the NEFF container: the one table that writer, reader and documentation share.

Source of the header fields: neuron-runtime/explore/work-with-neff-files.rst. Their offsets follow from the published
struct with natural alignment (inferred); the archive's members and the manifest are this project's own.
"""
from __future__ import annotations

import re

import numpy as np

from isa import word

HEADER = np.dtype(
    [
        ("pkg_version", "<u8"),  # selects the hash kind: 2 = sha256
        ("header_size", "<u8"),
        ("data_size", "<u8"),  # bytes of the archive
        ("neff_version_major", "<u8"),
        ("neff_version_minor", "<u8"),
        ("neff_build_version", "S128"),
        ("num_tpb", "<u4"),  # cores needed so that every stage has its own
        ("hash", "u1", (32,)),  # sha256(header with hash and uuid zeroed + manifest)
        ("uuid", "u1", (16,)),  # follows from the hash
        ("name", "S256"),
        ("requested_tpb_count", "<u4"),  # cores asked for at compile time
        ("tpb_per_node", "u1", (64,)),  # cores per graph node; the graph JSON is the authority past 64 nodes
        ("feature_bits", "<u8"),  # incompatible features; none is defined yet
        ("lnc_size", "<u4"),  # physical cores in one logical core
        ("pad", "u1", (468,)),  # zero
    ]
)
HEADER_BYTES = 1024
assert HEADER.itemsize == HEADER_BYTES

PKG_VERSION = 2
VERSION_MAJOR, VERSION_MINOR = 1, 0
BUILD_VERSION = f"neuronsim neff {VERSION_MAJOR}.{VERSION_MINOR}"
LNC_SIZE = 1

BLOCK = 512  # tar block; every member's data starts at a multiple of it in the file, so weights are 64-byte aligned
END_OF_ARCHIVE_BYTES = 2 * BLOCK

MANIFEST = "manifest.sha256"
GRAPH = "kelf-a.json"
GRAPH_FORMAT = 1
CPU_FOLDER = "cpu/"
# the member path alphabet: relative, no empty, "." or ".." part, at most 100 bytes (the tar name field)
MEMBER_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")
MEMBER_PATH_BYTES = 100

# limits checked before anything is allocated
MAX_MEMBER_BYTES = (1 << 33) - 1  # eleven octal digits of a tar size field
MAX_JSON_BYTES = 1 << 28
MAX_STAGES = 1 << 10
MAX_CORES = 1 << 12
MAX_DIMENSIONS = 32
MAX_VARIABLE_BYTES = 1 << 40  # one DRAM tensor; trn2.48xlarge has 1.5 TB in all
MAX_TEXT = 1 << 16

VOLATILE_REPORT_KEYS = ("compile_seconds",)  # wall-clock facts stay out of the file: same input, same bytes


def stage_folder(index: int) -> str:
    """Return the archive folder of stage `index`, e.g. ``sg00``."""
    return f"sg{index:02d}"


def stage_definition(index: int) -> str:
    """Return the member with a stage's engines, variables and queue sets."""
    return f"{stage_folder(index)}/def.json"


def stage_debug(index: int) -> str:
    """Return the member with a stage's debug rows."""
    return f"{stage_folder(index)}/debug.json"


def stage_engine(index: int, engine: str) -> str:
    """Return the member of an engine's stream, e.g. ``sg00/Tensor.bin``."""
    assert engine in word.ENGINES
    return f"{stage_folder(index)}/{engine.capitalize()}.bin"


def stage_init_engine(index: int, engine: str) -> str:
    """Return the member of what an engine does once, when its stage is loaded, e.g. ``sg00/Sync.init.bin``."""
    assert engine in word.ENGINES
    return f"{stage_folder(index)}/{engine.capitalize()}.init.bin"


def stage_descriptors(index: int) -> str:
    """Return the member with a stage's DMA descriptors."""
    return f"{stage_folder(index)}/dma.bin"


def stage_weight(index: int, variable_id: int) -> str:
    """Return the member with the bytes of a weight."""
    return f"{stage_folder(index)}/weights/{variable_id:05d}.bin"
