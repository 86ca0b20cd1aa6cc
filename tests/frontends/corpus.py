"""Small models of one operator each, saved by a real framework with what it computed: one npz for each format.

Written by `tests/frontends/<format>/make_corpus.py` where the framework is installed (Python 3.7 will do), read by the
tests, which need no framework. Keys of the npz: "<case>/file/<name>" the bytes of a model file, "<case>/in/<name>" and
"<case>/out/<k>" arrays, "<case>/about" JSON with tolerances, main file, options and names of the outputs.
"""
from __future__ import annotations

import io
import json
import lzma
from pathlib import Path

import numpy as np


class Writer:
    """Collects cases and saves them."""

    def __init__(self, path):
        self.path = Path(path)
        self.arrays = {}

    def add(self, case, files, inputs, outputs, rtol=1e-4, atol=1e-5, main="", options=None):
        """Add a case.

        Args:
            case: its name, without a slash.
            files: bytes by file name (a name may have folders: "model/variables/variables.index").
            inputs: array by input name as the user of the model knows it.
            outputs: arrays in the order of the model's outputs, or by output name where names are to be checked.
            main: the path that is compiled, "" for the first file.
            options: keyword arguments of `CompileOptions` beside the input shapes, which are those of `inputs`.
        """
        assert "/" not in case and case + "/about" not in self.arrays, case
        named = isinstance(outputs, dict)
        about = {"rtol": rtol, "atol": atol, "main": main or next(iter(files)), "options": options or {},
                 "outputs": list(outputs) if named else None}
        self.arrays[case + "/about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        for name, data in files.items():
            self.arrays[case + "/file/" + name] = np.frombuffer(bytes(data), np.uint8)
        for name, array in inputs.items():
            self.arrays[case + "/in/" + name] = np.asarray(array)
        for k, array in enumerate(outputs.values() if named else outputs):
            self.arrays[case + "/out/" + str(k)] = np.asarray(array)

    def save(self):
        """Write the npz; one called ".npz.xz" is compressed as a whole, which pays where files are much alike."""
        if self.path.suffix == ".xz":
            file = io.BytesIO()
            np.savez(file, **self.arrays)
            self.path.write_bytes(lzma.compress(file.getvalue(), preset=9))
        else:
            np.savez_compressed(str(self.path), **self.arrays)
        print(len([k for k in self.arrays if k.endswith("/about")]), "cases,", self.path.stat().st_size, "bytes")


class Corpus:
    """The cases of one npz."""

    def __init__(self, path):
        self.path = Path(path)
        opened = lzma.open(str(path)) if self.path.suffix == ".xz" else open(str(path), "rb")
        with opened, np.load(io.BytesIO(opened.read()), allow_pickle=False) as file:
            self.arrays = dict(file)
        self.cases = sorted(k[: -len("/about")] for k in self.arrays if k.endswith("/about"))

    def about(self, case):
        """What was stored beside files and arrays."""
        return json.loads(self.arrays[case + "/about"].tobytes())

    def _part(self, case, kind):
        start = f"{case}/{kind}/"
        return {k[len(start) :]: v for k, v in self.arrays.items() if k.startswith(start)}

    def check(self, case, folder, target=None):
        """Read a case's model and compare what it computes with what the framework computed.

        Args:
            folder: an empty one to write the files to.
            target: run on the simulated device of that instance; None: the imported graph in ONNX Runtime.
        Returns: the report of the compilation, or the imported graph.
        """
        from compiler import frontends
        from compiler.frontends.inputs import Given

        about = self.about(case)
        for name, data in self._part(case, "file").items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.tobytes())
        inputs = self._part(case, "in")
        wanted = [v for _, v in sorted(self._part(case, "out").items(), key=lambda item: int(item[0]))]
        options = dict(about["options"])
        framework = options.pop("framework", None)
        shapes = {n: a.shape for n, a in inputs.items()}
        given = Given(shapes, options.pop("input_dtypes", {}), outputs=tuple(options.pop("outputs", ())))
        graph = frontends.load(Path(folder) / about["main"], given, framework)
        if target is None:
            found, result = _evaluated(graph, inputs), graph
        else:
            import neuronsim

            neff = neuronsim.compile(graph, target=target, **options)
            found, result = neff.run(inputs, mode="values").outputs, neff.report
        names = about["outputs"] or list(found)
        assert len(names) == len(wanted), (list(found), len(wanted))
        for name, array in zip(names, wanted):
            assert found[name].shape == array.shape, (name, found[name].shape, array.shape)
            assert found[name].dtype == array.dtype, (name, found[name].dtype, array.dtype)
            np.testing.assert_allclose(found[name], array, rtol=about["rtol"], atol=about["atol"], err_msg=name)
        return result


def _evaluated(graph, inputs):
    import onnxruntime

    from compiler.frontends.onnx.export import to_model

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(to_model(graph).SerializeToString(), options, ["CPUExecutionProvider"])
    known = {i.name for i in session.get_inputs()}
    return dict(zip(graph.outputs, session.run(None, {k: v for k, v in inputs.items() if k in known})))
