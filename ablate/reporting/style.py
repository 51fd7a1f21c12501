"""How every figure and table of a report looks: colours, units, and the printed form of a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Okabe and Ito's colours, told apart by colour-blind readers; grey is kept for what others are compared with.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
MARKERS = ("o", "^", "D", "v", "P", "h", "*")
CONTROL_MARKER, NOISE_MARKER = "s", "X"
CONTROL_COLOUR = "#4D4D4D"
NOISE_COLOUR = "#9A9A9A"
BAND_COLOUR = "#DDDDDD"
PAGE_WIDTH = 7.4  # inches
PHONE_WIDTH = 3.7
FEWEST_SEEDS = 3  # of an interval: that of two seeds reaches 12.7 standard errors either way
RC: dict[str, object] = {
    "font.family": "DejaVu Sans",  # it travels with matplotlib, so pictures look alike everywhere
    "font.size": 9.0,
    "axes.labelsize": 9.0,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E8E8E8",
    "grid.linewidth": 0.7,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "ytick.major.size": 0.0,
    "figure.dpi": 100.0,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "ablate",
    "svg.fonttype": "none",  # words stay words: they can be searched, and take the page's colours
}


@dataclass(frozen=True)
class Unit:
    """How a metric is printed: value times ``factor``, with ``digits`` decimals.

    Attributes:
        axis: of a value, "test accuracy (%)".
        difference: of a difference, "difference in test accuracy (points)".
        short: behind a printed difference, "points".
        symbol: behind a printed value, "%" or nothing.
    """

    metric: str
    factor: float
    digits: int
    axis: str
    difference: str
    short: str
    symbol: str

    @property
    def behind(self) -> str:
        """Behind the name of a column of differences: ``" (points)"``, or nothing where there is no unit."""
        return f" ({self.short})" if self.short else ""

    def told(self, text: str) -> str:
        """A printed difference with its unit: ``"−1.84 points"``."""
        return f"{text} {self.short}".rstrip()

    def value(self, value: float | None) -> str:
        """``"97.31"``, or ``"–"`` where there is no number."""
        return number(value, self.digits, self.factor)

    def signed(self, value: float | None) -> str:
        """``"−1.84"``, ``"+0.31"``, or ``"–"`` where there is no number."""
        return number(value, self.digits, self.factor, signed=True)

    def interval(self, low: float | None, high: float | None) -> str:
        """``"[−2.31, −1.37]"``, or ``"–"`` where there is none."""
        if not (known(low) and known(high)):
            return "–"
        return f"[{self.signed(low)}, {self.signed(high)}]"


def unit(metric: str, name: str = "nats", digits: int = 4) -> Unit:
    """The unit of one of the study's metrics: accuracies in percent and points, others as they are.

    Args:
        metric: whose.
        name: of the unit; not read of an accuracy. Empty: it has none.
        digits: decimals; not read of an accuracy.
    """
    words = metric.replace("_", " ")
    if metric.endswith("accuracy"):
        return Unit(metric, 100, 2, f"{words} (%)", f"difference in {words} (points)", "points", "%")
    behind = f" ({name})" if name else ""
    return Unit(metric, 1, digits, f"{words}{behind}", f"difference in {words}{behind}", name, "")


def decimals(size: float) -> int:
    """How many decimals show a number of this size with three significant digits.

    >>> decimals(0.02), decimals(1.5), decimals(300.0)
    (4, 2, 0)
    """
    return min(12, max(0, 2 - math.floor(math.log10(size)))) if size > 0 and math.isfinite(size) else 2


def known(value: float | None) -> bool:
    """Whether there is a finite number."""
    return value is not None and math.isfinite(value)


def number(value: float | None, digits: int, factor: float = 1, *, signed: bool = False) -> str:
    """A number with so many decimals and a true minus sign; ``"–"`` where there is none."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value * factor:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:  # "-0.00" says more than is known
        text = text.lstrip("+-")
    return text.replace("-", "−")


def p_text(p: float | None) -> str:
    """A p-value as papers print it: ``".008"``, ``"<.001"``, ``"1"``."""
    if p is None or math.isnan(p):
        return "–"
    if p < 0.001:
        return "<.001"
    return "1" if p > 0.9995 else f"{p:.3f}"[1:]


def ratio(value: float | None, base: float | None) -> float | None:
    """``value`` over ``base``; None where either is missing or the base is zero."""
    return value / base if value is not None and base else None


def colours(arms: Sequence[str], control: str, noise_floor: str) -> dict[str, str]:
    """A colour an arm; beyond seven arms all share one, and labels alone tell them apart."""
    others = [arm for arm in arms if arm not in (control, noise_floor)]
    chosen = COLOURS if len(others) <= len(COLOURS) else (COLOURS[0],) * len(others)
    return {control: CONTROL_COLOUR, noise_floor: NOISE_COLOUR, **dict(zip(others, chosen, strict=False))}


def markers(arms: Sequence[str], control: str, noise_floor: str) -> dict[str, str]:
    """A marker an arm; beyond seven arms all share one."""
    others = [arm for arm in arms if arm not in (control, noise_floor)]
    chosen = MARKERS if len(others) <= len(MARKERS) else (MARKERS[0],) * len(others)
    return {control: CONTROL_MARKER, noise_floor: NOISE_MARKER, **dict(zip(others, chosen, strict=False))}
