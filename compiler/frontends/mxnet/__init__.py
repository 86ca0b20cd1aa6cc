"""Apache MXNet: symbol files (Module checkpoints and Gluon exports) with their params files."""
