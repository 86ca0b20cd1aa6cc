"""A trace in the formats that other programs open: one file each, all with `write(trace, programs, target, path)`."""
