"""Graph passes, one file each; `compiler.pipeline` lists them in order.

A pass module has `run(graph) -> int`, which edits the graph in place and returns how much it changed (0: nothing).
Its name on the command line is the module's name with dashes.
"""
