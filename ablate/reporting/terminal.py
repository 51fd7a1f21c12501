"""What the terminal shows at the end of a study: question, verdicts in words, and the table of numbers."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table

from ablate.design.plan import CONTROL
from ablate.reporting import co_primary, stability, tables, words
from ablate.reporting.console import screen, text
from ablate.reporting.headline import outcomes_of
from ablate.reporting.labels import folded
from ablate.reporting.results import Results
from ablate.reporting.style import p_text, ratio
from ablate.verdicts.verdict import Verdict

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

    In a factorial study of so many arms, all share one but those with an expectation.

    ``"relu_bottleneck is worse than the control: −1.84 points [−2.31, −1.37], adjusted p .008, 8 paired seeds,
    expected: worse (held)"``
    """
    verdicts = results.judgement.verdicts
    if len(verdicts) <= MOST_SENTENCES:
        return [words.sentence(results, verdict) for verdict in verdicts]
    if results.judgement.effects:
        expected = [words.sentence(results, verdict) for verdict in verdicts if verdict.expected]
        return [*expected, outcomes_of(verdicts)]
    told = [words.sentence(results, verdict) for verdict in verdicts if verdict.outcome != "undecided"]
    left_open = [verdict for verdict in verdicts if verdict.outcome == "undecided"]
    return [*told, f"{len(left_open)} of {len(verdicts)} arms are undecided (see the table)"] if left_open else told


def verdict_table(results: Results) -> Table:
    """Arm, accuracy, difference, interval, adjusted p, verdict and cost, for a terminal of 80 columns."""
    unit = results.unit
    head = (
        "arm",
        unit.symbol or _column_name(unit.short, "mean"),
        _column_name(unit.short, "difference"),
        f"{words.confidence(results)} interval",
        "adj. p",
        "verdict",
        *(["MACs"] if results.knows("macs") else []),
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", show_edge=False, pad_edge=False)
    for name in head:
        numeric = name not in ("arm", "verdict")
        table.add_column(name, justify="right" if numeric else "left", no_wrap=name != "arm", overflow="fold")
    control = next((v.contrast for v in results.judgement.verdicts if v.contrast is not None), None)
    if control is not None:
        table.add_row("control", unit.value(control.control_mean), *["–"] * 4, *["1.00×"] * results.knows("macs"))
    for arm in results.compared:
        table.add_row(*_row(results, results.judgement.verdict(arm)))
    return table


def _column_name(short: str, otherwise: str) -> str:
    """A unit as the head of a narrow column; what it holds where there is no unit, or one of several words."""
    return short if short and " " not in short else otherwise


def _row(results: Results, verdict: Verdict) -> list[RenderableType]:
    unit, contrast = results.unit, verdict.contrast
    macs = tables.times(ratio(results.cost(verdict.arm, "macs"), results.cost(CONTROL, "macs")))
    return [
        text(folded(verdict.arm, 18)),
        unit.value(contrast.arm_mean if contrast else None),
        unit.signed(contrast.mean_difference if contrast else None),
        words.interval(results, contrast),
        p_text(contrast.adjusted_p if contrast else None),
        text(verdict.outcome, STYLES.get(verdict.outcome, "")),
        *([macs] if results.knows("macs") else []),
    ]


def print_results(results: Results, console: Console | None = None) -> None:
    """Prints the end of a study; plain text, 80 columns wide, where the output is no terminal."""
    (console or screen(WIDTH_WITHOUT_TERMINAL)).print(_page(results))


def _page(results: Results) -> Group:
    study = results.plan.study
    parts: list[RenderableType] = [text(""), text(words.title(results), "bold")]
    if study.question:
        parts.append(text(study.question))
    loud = ("! ", "bold yellow") if words.is_alarming(results) else ("Note: ", "")
    parts += [text(loud[0] + statement, loud[1]) for statement in words.gravest(results)]
    parts.append(text(""))
    if results.judgement.effects:
        parts += [Padding(text(line), (0, 0, 0, 2), expand=False) for line in words.effect_sentences(results)]
        parts.append(text(""))
    for line in verdict_lines(results):
        parts.append(Padding(text(line), (0, 0, 0, 2), expand=False))
    for line in co_primary.sentences(results):
        parts.append(Padding(text(line), (0, 0, 0, 2), expand=False))
    if study.searched or (len(results.compared) <= MOST_SENTENCES and not results.judgement.effects):
        changes = [f"{arm}: {words.change(results.arm(arm), study)}" for arm in results.compared]
        parts += [text(""), *(Padding(text(line), (0, 0, 0, 2), expand=False) for line in changes)]
    if lines := stability.sentences(results):
        parts += [text(""), *(Padding(text(line), (0, 0, 0, 2), expand=False) for line in lines)]
    parts += [text(""), verdict_table(results), text(""), text(_rule(results), "dim")]
    return Group(*parts)


def _rule(results: Results) -> str:
    judged = results.judgement
    seeds = f"{words.count(judged.num_seeds, 'seed')} an arm"
    costs = "; MACs relative to the control's" if results.knows("macs") else ""
    made = words.computed(results)
    return (
        f"{results.unit.metric.replace('_', ' ')}, arm minus control, paired by seed; {seeds}; "
        f"alpha {judged.alpha:g}; margin {words.margin(results)}{costs}"
        f"{f'; {made}' * bool(made)}; training took {words.training_time(results)} in all."
    )
