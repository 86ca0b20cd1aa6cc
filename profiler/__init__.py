"""Trace -> analysis -> text and JSON. Imports `isa` only: the trace schema is part of the contract."""
