"""Compiled parts of the project, all in one table. Everything else is in pyproject.toml."""
from __future__ import annotations

from Cython.Build import cythonize
from setuptools import Extension, setup

CORE = "neuronsim/_core"

# name -> (sources, headers, compiler flags)
EXTENSIONS: dict[str, tuple[list[str], list[str], list[str]]] = {
    "neuronsim._core.timing": (
        [f"{CORE}/timing.pyx"] + [f"{CORE}/{name}.c" for name in ("machine", "dma", "events", "state")],
        [f"{CORE}/machine.h", f"{CORE}/word.h"],
        ["-O3"],
    ),
    # -ffp-contract=off: a * b + c is rounded twice unless the code says fma, on every CPU
    "neuronsim._core.values": (
        [f"{CORE}/{name}" for name in ("values.pyx", "view.c", "access.c", "plan.c", "run.c", "nonfinite.c")]
        + [f"{CORE}/kernels/{name}.c" for name in ("baseline", "avx2", "avx512", "dispatch")],
        [f"{CORE}/access.h", f"{CORE}/values.h", f"{CORE}/word.h"]
        + [f"{CORE}/kernels/{name}.h" for name in ("alu", "convert", "dma", "elementwise", "functions", "level")]
        + [f"{CORE}/kernels/{name}.h" for name in ("matmul", "pack", "reduce", "tile", "view")],
        ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"],
    ),
    **{
        f"neuronsim._core.{name}": ([f"{CORE}/{name}.pyx"], [], ["-O3"])
        for name in (
            "check_access", "check_order", "check_races", "check_shadow", "serving", "serving_shared", "serving_state",
        )
    },
}

DIRECTIVES = {"language_level": 3}


def extensions() -> list[Extension]:
    """Return the table as setuptools extensions."""
    return [
        Extension(name, sources, depends=headers, include_dirs=[CORE], extra_compile_args=flags)
        for name, (sources, headers, flags) in EXTENSIONS.items()
    ]


if __name__ == "__main__":
    setup(ext_modules=cythonize(extensions(), build_dir="build/cython", compiler_directives=DIRECTIVES))
