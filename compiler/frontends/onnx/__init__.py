"""The ONNX frontend, and what every frontend ends in: `model` reads, `importer` builds the graph, `export` writes."""
