"""What a trace means: one analysis per file, each a pure function `(trace, programs, target) -> dataclass`.

Every result has `as_json()` (plain JSON values, the schema of docs/profile.md) and `tables()` (for people).
"""
