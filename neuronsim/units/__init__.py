"""Plain Python twin of the compiled event loop: one file per hardware unit, the readable form of the timing model."""
