"""Compiled parts: the event loop (`timing`) and the value kernels. Each has a plain Python twin with equal results."""
