"""What stands in the terminal at the end of a study: question, verdicts in words, and the table of numbers."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ablate.reporting import tables, words
from ablate.reporting.labels import folded
from ablate.reporting.results import Results

STYLES = {
    "better": "bold green",
    "worse": "bold red",
    "equivalent": "bold cyan",
    "no worse": "bold cyan",
    "undecided": "yellow",
}
WIDTH_WITHOUT_TERMINAL = 80
MOST_SENTENCES = 6


def verdict_lines(results: Results) -> list[str]:
    """A sentence an arm; beyond ``MOST_SENTENCES`` arms the undecided ones share one.

    ``"relu_bottleneck is worse than the control: −1.84 points [−2.31, −1.37], adjusted p .008, 8 paired seeds,
    expected: worse (held)"``
    """
    verdicts = results.judgement.verdicts
    if len(verdicts) <= MOST_SENTENCES:
        return [words.sentence(results, verdict) for verdict in verdicts]
    told = [words.sentence(results, verdict) for verdict in verdicts if verdict.outcome != "undecided"]
    left_open = [verdict for verdict in verdicts if verdict.outcome == "undecided"]
    return [*told, f"{len(left_open)} of {len(verdicts)} arms are undecided (see the table)"] if left_open else told


def verdict_table(results: Results) -> Table:
    """Arm, difference, interval, adjusted p, verdict and cost, for a terminal of 80 columns."""
    printed = tables.verdict_rows(results)
    printed = printed.rename(columns={name: name.removeprefix("difference ").strip("()") for name in printed.columns})
    shown = [name for name in printed.columns if name not in ("change", "p", "expected", "MACs / control")] + ["MACs"]
    printed = printed.rename(columns={"MACs / control": "MACs"}).assign(arm=[folded(arm, 24) for arm in printed["arm"]])
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False)
    for name in shown:
        numeric = name not in ("arm", "verdict")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=name != "arm", overflow="fold")
    for line in printed[shown].itertuples(index=False):
        outcome = dict(zip(shown, line, strict=True))["verdict"]
        table.add_row(*(Text(str(cell), STYLES.get(outcome, "") if cell == outcome else "") for cell in line))
    return table


def print_results(results: Results, console: Console | None = None) -> None:
    """Prints the end of a study; plain text, 80 columns wide, where the output is no terminal."""
    screen = console or Console(highlight=False)
    if not screen.is_terminal and console is None:
        screen = Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    screen.print(_page(results))


def _page(results: Results) -> Group:
    study = results.plan.study
    parts: list[RenderableType] = [Text(""), Text(words.title(results), "bold")]
    if study.question:
        parts.append(Text(study.question))
    loud = ("! ", "bold yellow") if words.is_alarming(results) else ("Note: ", "")
    parts += [Text(loud[0] + statement, loud[1]) for statement in words.gravest(results)]
    parts.append(Text(""))
    for line in verdict_lines(results):
        parts.append(Padding(Text(line), (0, 0, 0, 2), expand=False))
    if results.judgement.effects:
        parts += [
            Text(""),
            *(Padding(Text(line), (0, 0, 0, 2), expand=False) for line in words.effect_sentences(results)),
        ]
    parts += [Text(""), verdict_table(results), Text(""), Text(_rule(results), "dim")]
    return Group(*parts)


def _rule(results: Results) -> str:
    judged = results.judgement
    seeds = f"{judged.num_seeds} seed{'s' * (judged.num_seeds != 1)} an arm"
    return (
        f"{results.unit.metric.replace('_', ' ')}, arm minus control, paired by seed; {seeds}; "
        f"alpha {judged.alpha:g}; margin {words.margin(results)}; MACs relative to the control's."
    )
