"""What a stranger reads at the end of the command, and in MLflow's note."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable

from rich.console import Console

from ablate.reporting import words
from ablate.reporting.markdown import note
from ablate.reporting.results import Results
from ablate.reporting.terminal import print_results, verdict_lines


def printed(results: Results, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_results(results, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_verdict_is_a_sentence_with_its_numbers_and_the_expectation(results: Results) -> None:
    contrast = results.judgement.verdicts[0].contrast
    assert contrast is not None
    difference = f"{100 * contrast.mean_difference:.2f}".replace("-", "−")
    low, high = (f"{100 * (x or 0):.2f}".replace("-", "−") for x in (contrast.low, contrast.high))
    arm, control = (f"{100 * mean:.2f} %" for mean in (contrast.arm_mean, contrast.control_mean))
    assert verdict_lines(results)[0] == (
        f"relu_bottleneck is worse than the control: {arm} against {control}, {difference} points [{low}, {high}], "
        "adjusted p .016, 8 paired seeds, expected: worse (held)"
    )


def test_an_undecided_verdict_says_how_many_seeds_would_settle_it(results: Results) -> None:
    verdict = dataclasses.replace(results.judgement.verdicts[0], outcome="undecided", held=None)
    told = words.sentence(results, verdict)
    assert "relu_bottleneck against the control is undecided: 9" in told
    assert "about 12 seeds would settle it, expected: worse (not decided)" in told


def test_eighty_columns_hold_every_line_and_the_whole_of_every_name(toggles: Results) -> None:
    text = printed(toggles)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    assert "Which of the four choices matters most" in " ".join(text.split())
    table = text[text.index("\narm ") :].splitlines()
    assert "classic+relu_bottleneck+relu_activation+full" in "".join(line[:18].strip() for line in table)


def test_a_factorial_study_answers_with_its_main_effects_and_the_interactions_beyond_noise(toggles: Results) -> None:
    told = words.effect_sentences(toggles)
    assert (
        told[0] == "main effect of residual (classic − inverted): −0.40 points [−0.60, −0.20], "
        "adjusted p .040, undecided"
    )
    assert told[-1].startswith("interaction of residual and conv: −2.00 points")
    silent = dataclasses.replace(toggles.judgement.effects[-1], adjusted_p=0.2)
    quiet = dataclasses.replace(toggles.judgement, effects=(*toggles.judgement.effects[:-1], silent))
    assert len(words.effect_sentences(dataclasses.replace(toggles, judgement=quiet))) == 4


def test_the_arms_of_a_large_factorial_study_are_counted_after_its_effects(toggles: Results) -> None:
    lines = verdict_lines(toggles)
    expected = [one for one in toggles.judgement.verdicts if one.expected]
    assert len(lines) == len(expected) + 1
    assert lines[-1].startswith(f"Of {len(toggles.judgement.verdicts)} arms, ") or lines[-1].startswith("All ")
    text = " ".join(printed(toggles).split())
    assert text.index("main effect of residual") < text.index(" ".join(lines[-1].split()))


def test_what_voids_the_study_comes_before_the_verdicts(make_findings: Callable[..., Results]) -> None:
    text = printed(make_findings(drop=3))
    assert text.index("! 3 planned seeds have no record.") < text.index("is not judged")


def test_without_a_terminal_the_text_is_plain(results: Results) -> None:
    assert "\x1b" not in printed(results)


def test_what_the_user_wrote_is_not_read_as_markup(make_findings: Callable[..., Results]) -> None:
    assert "[red]Is [bold]this[/bold] markup?" in printed(make_findings(question="[red]Is [bold]this[/bold] markup?"))


def test_the_note_shows_what_the_user_wrote_as_text(make_findings: Callable[..., Results]) -> None:
    text = note(make_findings(title="<script>alert(1)</script>", question="![x](http://e.example/x.png) a|b"))
    assert "<script" not in text
    assert "&lt;script&gt;" in text.replace("\\", "")
    assert "![x](" not in text
    assert "a\\|b" in text


def test_the_note_has_the_expectation_and_a_row_an_arm(results: Results) -> None:
    text = note(results)
    assert "worse (held)" in text.replace("\\", "")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 3
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1


def test_the_study_reads_back_from_its_text(make_findings: Callable[..., Results]) -> None:
    import tomllib

    study = make_findings(title='a "quoted" title \\ with é').plan.study
    plain = tomllib.loads(words.study_text(study))
    assert type(study).model_validate({"name": study.name, "budget": study.budget, **plain}) == study
