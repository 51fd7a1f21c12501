"""The end of `ablate judge` in a terminal: what was compared, the verdicts in words, and the table of numbers."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ablate.reporting.style import decimals as fewest_decimals
from ablate.reporting.style import number, p_text
from ablate.reporting.terminal import STYLES
from ablate.reporting.words import expectation, proper
from ablate.verdicts.judgement import Judgement
from ablate.verdicts.runs_wording import counted
from ablate.verdicts.verdict import Contrast, Verdict

WIDTH_WITHOUT_TERMINAL = 100
CLAIMS = {
    "better": "{arm} is better than {control}",
    "worse": "{arm} is worse than {control}",
    "equivalent": "{arm} is equivalent to {control}, within the margin of {margin:g}",
    "no worse": "{arm} is no worse than {control}, within the margin of {margin:g}",
    "undecided": "{arm} against {control} is undecided",
    "not judged": "{arm} is not judged",
}


def print_judged(judgement: Judgement, *, control: str, source: str) -> None:
    """Prints the judgement; plain text of a fixed width where the output is no terminal."""
    screen = Console(highlight=False)
    if not screen.is_terminal:
        screen = Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    screen.print(page(judgement, control=control, source=source))


def page(judgement: Judgement, *, control: str, source: str) -> Group:
    """Everything that is printed."""
    direction = "higher" if judgement.higher_is_better else "lower"
    parts: list[RenderableType] = [
        Text(f"{judgement.metric} of {source}, {direction} is better, against {control}", "bold"),
        Text(""),
    ]
    parts += [Padding(Text(line), (0, 0, 0, 2), expand=False) for line in verdict_lines(judgement, control)]
    parts += [Text(""), _table(judgement)]
    if judgement.per_set:
        parts += [Text(""), _per_set(judgement)]
    loud = ("! ", "bold yellow") if not judgement.stands else ("Note: ", "")
    parts += [Text(""), *(Text(loud[0] + proper(said), loud[1]) for said in judgement.statements)]
    margin = f"margin {judgement.margin:g}" if judgement.margin else "no margin"
    parts += [Text(""), Text(f"{judgement.method} alpha {judgement.alpha:g}; {margin}.", "dim")]
    return Group(*parts)


def verdict_lines(judgement: Judgement, control: str) -> list[str]:
    """A sentence an arm: its outcome and what that rests on."""
    judged = judgement.verdicts if judgement.noise_floor is None else (*judgement.verdicts, judgement.noise_floor)
    return [_sentence(one, judgement, control) for one in judged]


def _sentence(verdict: Verdict, judgement: Judgement, control: str) -> str:
    claim = CLAIMS[verdict.outcome].format(arm=verdict.arm, control=control, margin=judgement.margin)
    expected = f" Expected: {expectation(verdict)}." if verdict.expected else ""
    return f"{claim}: {proper(verdict.why)}{expected}"


def _table(judgement: Judgement) -> Table:
    contrasts = [one.contrast for one in judgement.verdicts if one.contrast is not None]
    digits = decimals(contrasts)
    table = _columns("arm", "verdict", numeric=("difference", _confidence(judgement), "p", "adjusted p", "compared"))
    for one in judgement.verdicts:
        cells = _cells(one.contrast, digits) if one.contrast is not None else ["–"] * 3
        adjusted = p_text(one.contrast.adjusted_p) if one.contrast is not None else "–"
        compared = counted(one.contrast) if one.contrast is not None else "–"
        outcome = Text(one.outcome, STYLES.get(one.outcome, ""))
        table.add_row(Text(one.arm), outcome, *(Text(cell) for cell in (*cells, adjusted, compared)))
    return table


def _per_set(judgement: Judgement) -> Table:
    digits = decimals(judgement.per_set)
    numeric = ("difference", _confidence(judgement), "p, unadjusted", "compared")
    table = _columns("arm", "data set", numeric=numeric)
    for one in judgement.per_set:
        cells = (one.arm, one.data_set, *_cells(one, digits), counted(one))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _columns(*text: str, numeric: tuple[str, ...]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for name in text:
        table.add_column(name, overflow="fold")
    for name in numeric:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cells(contrast: Contrast, digits: int) -> list[str]:
    low, high = (number(end, digits, signed=True) for end in (contrast.low, contrast.high))
    interval = "–" if contrast.low is None else f"[{low}, {high}]"
    return [number(contrast.mean_difference, digits, signed=True), interval, p_text(contrast.p)]


def _confidence(judgement: Judgement) -> str:
    return f"{100 * (1 - judgement.alpha):g} % interval"


def decimals(contrasts: Iterable[Contrast]) -> int:
    """How many decimals show the narrowest interval (else the smallest difference) with three significant digits."""
    contrasts = list(contrasts)
    widths = [one.high - one.low for one in contrasts if one.high is not None and one.low is not None]
    sizes = [width for width in widths if width > 0] or [abs(c.mean_difference) for c in contrasts if c.mean_difference]
    return fewest_decimals(min(sizes)) if sizes else 2
