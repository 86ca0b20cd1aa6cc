"""The report: one HTML file that explains a trace in any browser, without a network."""

from profiler.html.gather import gather
from profiler.html.writer import write

__all__ = ["gather", "write"]
