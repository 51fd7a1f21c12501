"""The fractions are those of the textbook: checked by trying all others, and by multiplying columns."""

from __future__ import annotations

import itertools
import math

import pytest

from ablate.design.fractional import GENERATORS, FractionalDesign, construct, sizes
from ablate.design.plan import make_plan
from ablate.design.study import Study
from ablate.errors import StudyError

# Box, Hunter & Hunter, table 6.22
RESOLUTIONS = {
    (5, 8): 3, (5, 16): 5,
    (6, 8): 3, (6, 16): 4, (6, 32): 6,
    (7, 8): 3, (7, 16): 4, (7, 32): 4, (7, 64): 7,
    (8, 16): 4, (8, 32): 4, (8, 64): 5,
    (9, 16): 3, (9, 32): 4, (9, 64): 4, (9, 128): 6,
}  # fmt: skip
FACTORS = {
    "residual": ("inverted", "classic"),
    "bottleneck": ("linear", "relu"),
    "activation": ("relu6", "relu"),
    "conv": ("depthwise", "full"),
    "shortcut": ("identity", "none"),
}


def pattern(words: list[int], count: int) -> list[int]:
    """Numbers of words of length 1, 2, ..., count, of the group that ``words`` span (as bit masks)."""
    lengths = [0] * (count + 1)
    for chosen in itertools.product((0, 1), repeat=len(words)):
        product = 0
        for take, word in zip(chosen, words, strict=True):
            product ^= word * take
        lengths[product.bit_count()] += 1
    return lengths[1:]


@pytest.mark.parametrize(("count", "runs"), GENERATORS)
def test_no_other_generators_have_less_aberration(count: int, runs: int) -> None:
    base = int(math.log2(runs))
    columns = [mask for mask in range(1, 2**base) if mask.bit_count() > 1]
    best = min(
        pattern([mask | 1 << base + at for at, mask in enumerate(chosen)], count)
        for chosen in itertools.combinations(columns, count - base)
    )
    design = construct(tuple("abcdefghi"[:count]), runs)
    ours = [sum(len(word) == length for word in design.words) for length in range(1, count + 1)]
    assert ours == best
    assert design.resolution == RESOLUTIONS[count, runs]


def column(design: FractionalDesign, effect: str) -> list[int]:
    """The contrast of an effect over the runs, as +1 and -1."""
    at = [design.factors.index(name) for name in effect.split(":")]
    return [math.prod(1 - 2 * run[i] for i in at) for run in design.runs]


@pytest.mark.parametrize(("count", "runs"), [(5, 8), (5, 16), (6, 16), (8, 16)])
def test_effects_are_aliased_exactly_where_their_columns_are_equal(count: int, runs: int) -> None:
    design = construct(tuple("abcdefghi"[:count]), runs)
    aliases = design.aliases()
    columns = {effect: column(design, effect) for effect in aliases}
    for effect, other in itertools.permutations(aliases, 2):
        same = columns[effect] in (columns[other], [-sign for sign in columns[other]])
        assert (other in aliases[effect]) == same


@pytest.mark.parametrize(("count", "runs"), GENERATORS)
def test_runs_are_balanced_distinct_and_start_with_the_control(count: int, runs: int) -> None:
    design = construct(tuple("abcdefghi"[:count]), runs)
    assert len(set(design.runs)) == runs
    assert design.runs[0] == (0,) * count
    assert all(sum(run[i] for run in design.runs) == runs // 2 for i in range(count))


@pytest.mark.parametrize("count", range(5, 10))
def test_by_default_it_is_the_smallest_fraction_of_resolution_four(count: int) -> None:
    design = construct(tuple("abcdefghi"[:count]))
    assert design.resolution >= 4
    assert all(RESOLUTIONS[count, size] < 4 for size in sizes(count) if size < len(design.runs))


def test_a_fractional_study_has_an_arm_a_run_with_the_control_first() -> None:
    plan = make_plan(Study(name="x", factors=FACTORS, design={"kind": "fractional", "runs": 8}))
    assert len(plan.arms) == 8
    assert plan.control.factors == {name: levels[0] for name, levels in FACTORS.items()}
    for arm in plan.arms:
        for name, level in arm.factors.items():
            assert {getattr(stage.block, name) for stage in arm.spec.stages} == {level}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"design": {"kind": "fractional", "runs": 9}}, r"design.runs must be one of 8, 16 for 5 factors, got 9"),
        ({"factors": {"conv": ("depthwise", "full")}}, r"factors must be 5 to 9 in a fractional study, got 1"),
        ({"factors": {**FACTORS, "dropout": (0.1, 0.2, 0.3)}}, r"factors.dropout must have two levels"),
    ],
)
def test_a_fraction_that_there_is_not_is_refused(changes: dict[str, object], message: str) -> None:
    study = Study.model_validate({"name": "x", "factors": FACTORS, "design": {"kind": "fractional"}, **changes})
    with pytest.raises(StudyError, match=message):
        make_plan(study)


def test_a_design_states_its_resolution_and_what_cannot_be_told_apart() -> None:
    told = str(construct(tuple("abcde"), 8))  # D = AB, E = AC
    assert told.startswith(
        "8 of 32 combinations were run, a fraction of resolution III. These cannot be distinguished: "
    )
    assert "b = a:d" in told
    assert "a = b:d = c:e" in told
    assert str(construct(tuple("abcde"), 16)).endswith("no main effect or two-way interaction is mixed with another.")
