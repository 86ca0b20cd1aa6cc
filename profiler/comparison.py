"""Two profiles side by side: metrics, layers by name, where the time of engines goes. Works on summaries alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from profiler.table import Table
from profiler.text import bytes_text, seconds_text

SHOWN = (  # metrics for people, where both profiles have them; JSON has all
    "total_time", "tensor_engine_active_time", "vector_engine_active_time", "scalar_engine_active_time",
    "gpsimd_engine_active_time", "sync_engine_active_time", "dma_active_time", "dma_transfer_count",
    "dma_transfer_average_bytes", "hbm_read_bytes", "hbm_write_bytes", "spill_save_bytes", "spill_reload_bytes",
    "hardware_flops", "transpose_flops", "mfu_estimated_percent", "hfu_estimated_percent", "mbu_estimated_percent",
)  # fmt: skip
STALL_POINTS = 0.5  # percentage points of an engine's time; less is not listed
SAME = "same"


@dataclass(frozen=True)
class Figure:
    """One number of both profiles; None where a profile has it not."""

    name: str
    before: float | None
    after: float | None

    @property
    def change_percent(self) -> float | None:
        """Against before; None where that is absent or zero."""
        if self.before is None or self.after is None or (not self.before and self.after):
            return None
        return 100.0 * (self.after / self.before - 1.0) if self.before else 0.0


@dataclass(frozen=True)
class LayerChange:
    """A layer, by model, name and operator: seconds and share of the device time; None where it is not there."""

    model: int
    name: str
    op_type: str
    before: float | None
    after: float | None
    before_percent: float | None
    after_percent: float | None

    @property
    def status(self) -> str:
        """"added", "removed" or "same"."""
        return "added" if self.before is None else "removed" if self.after is None else SAME

    @property
    def delta(self) -> float:
        """Seconds more than before."""
        return (self.after or 0.0) - (self.before or 0.0)


@dataclass(frozen=True)
class StallChange:
    """A class of an engine's time, in percent of the whole."""

    engine: str
    kind: str
    before: float
    after: float


@dataclass(frozen=True)
class Comparison:
    """All that both profiles tell, the largest differences of layers and stalls first."""

    metrics: tuple[Figure, ...]
    layers: tuple[LayerChange, ...]
    stalls: tuple[StallChange, ...]

    def metric(self, name: str) -> Figure:
        """A metric by name; absent ones have no numbers."""
        return next((m for m in self.metrics if m.name == name), Figure(name, None, None))

    def as_json(self) -> dict[str, Any]:
        """Every figure of both, JSON values."""
        return {
            "metrics": [{**asdict(m), "change_percent": m.change_percent} for m in self.metrics],
            "layers": [{**asdict(layer), "status": layer.status, "delta": layer.delta} for layer in self.layers],
            "stalls": [{**asdict(s), "delta": s.after - s.before} for s in self.stalls],
        }

    def tables(self, top: int) -> list[Table]:
        """For people: the metrics of `SHOWN`, the `top` layers and stalls that changed most."""
        return [self._metrics(), self._layers(top), self._stalls(top)]

    def _metrics(self) -> Table:
        table = Table("metrics", ["metric", ">before", ">after", ">change"])
        for name in SHOWN:
            found = self.metric(name)
            if found.before or found.after:
                values = (_value(name, found.before), _value(name, found.after))
                table.rows.append([name, *values, _change(name, found)])
        return table

    def _layers(self, top: int) -> Table:
        changed = [layer for layer in self.layers if layer.delta or layer.status != SAME]
        table = Table(
            f"{min(top, len(changed))} of {len(changed)} layers that changed",
            ["layer", "operator", ">before", ">after", ">change", ">share before", ">after", ""],
        )
        for layer in changed[:top]:
            table.rows.append([
                layer.name or "(no layer)", layer.op_type, _value("_time", layer.before), _value("_time", layer.after),
                f"{'+' if layer.delta >= 0 else '-'}{seconds_text(abs(layer.delta))}", _share(layer.before_percent),
                _share(layer.after_percent), "" if layer.status == SAME else layer.status,
            ])  # fmt: skip
        count = {status: sum(layer.status == status for layer in self.layers) for status in ("added", "removed")}
        if any(count.values()):
            table.notes.append(f"{count['added']} layers added, {count['removed']} removed")
        return table

    def _stalls(self, top: int) -> Table:
        changed = [s for s in self.stalls if abs(s.after - s.before) >= STALL_POINTS]
        table = Table("time of engines", ["engine", "doing", ">before", ">after", ">points"])
        for s in changed[:top]:
            table.rows.append([
                s.engine, s.kind.replace("_", " "), _share(s.before), _share(s.after), f"{s.after - s.before:+.1f}"
            ])  # fmt: skip
        if not changed:
            table.notes.append(f"nothing changed by {STALL_POINTS} points")
        return table


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """Compare two summaries (the documents of summary.json)."""
    return Comparison(_metrics(before, after), _layers(before, after), _stalls(before, after))


def _metrics(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Figure, ...]:
    names = dict.fromkeys(n for n, v in [*before.items(), *after.items()] if _is_number(v) and n != "schema")
    return tuple(Figure(n, _number(before.get(n)), _number(after.get(n))) for n in names)


def _layers(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[LayerChange, ...]:
    a, b = _by_name(before), _by_name(after)
    found = [
        LayerChange(*key, *(side.get(key, {}).get(what) for what in ("time", "time_percent") for side in (a, b)))
        for key in dict.fromkeys([*a, *b])
    ]
    return tuple(sorted(found, key=lambda layer: -abs(layer.delta)))


def _by_name(summary: Mapping[str, Any]) -> dict[tuple[int, str, str], dict[str, Any]]:
    rows: Sequence[Mapping[str, Any]] = summary.get("layers") or ()
    out: dict[tuple[int, str, str], dict[str, Any]] = {}
    for row in rows:
        sums = out.setdefault((row.get("model", 0), row["name"], row["op_type"]), {"time": 0.0, "time_percent": 0.0})
        for what in sums:
            sums[what] += row[what]
    return out


def _stalls(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[StallChange, ...]:
    a, b = _shares(before), _shares(after)
    found = [StallChange(*key, a.get(key, 0.0), b.get(key, 0.0)) for key in dict.fromkeys([*a, *b])]
    return tuple(sorted(found, key=lambda s: -abs(s.after - s.before)))


def _shares(summary: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    engines = (summary.get("stalls") or {}).get("engines_percent") or {}
    return {(engine, kind): float(v) for engine, views in engines.items() for kind, v in views["root"].items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    return value if _is_number(value) else None


# ---- text
def _value(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    if name.endswith("_percent"):
        return _share(value)
    if name.endswith("_time"):
        return seconds_text(value)
    return bytes_text(value) if name.endswith("_bytes") else f"{value:.6g}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"


def _change(name: str, found: Figure) -> str:
    """In percent of before; of percentages in points."""
    if name.endswith("_percent") and found.before is not None and found.after is not None:
        return f"{found.after - found.before:+.1f} points"
    return "-" if found.change_percent is None else f"{found.change_percent:+.1f} %"
