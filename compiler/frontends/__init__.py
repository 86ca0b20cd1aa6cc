"""Frontends: each turns one kind of model file into a `compiler.ir.Graph`."""
