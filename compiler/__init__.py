"""Compiler: a trained network to an instruction program."""
