"""A study file becomes a Study, or every problem of it comes in one answer."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.design.layered import merge
from ablate.design.read import find_study, list_studies, load_study
from ablate.errors import StudyError
from ablate.model.spec import LEVELS

Write = Callable[[str], Path]
GOOD = """
[control]
net = "mobilenet_v2_mnist"
[arms.relu]
bottleneck = "relu"
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str, name: str = "mine.toml") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write


def problems(path: Path | str, **kwargs: object) -> dict[str, str]:
    """Key -> message of what ``load_study`` refuses."""
    with pytest.raises(StudyError) as caught:
        load_study(path, **kwargs)  # type: ignore[arg-type]
    assert all(problem.where in (str(path), "--set") or "study" in problem.where for problem in caught.value.problems)
    return {problem.key: problem.message for problem in caught.value.problems}


def test_what_is_written_is_taken_and_the_rest_has_its_default(write: Write) -> None:
    study = load_study(write(GOOD + "[recipe]\nlr = 1\n[plan]\nseeds = 5\n"))
    assert study.name == "mine"
    assert study.budget == "quick"
    assert (study.recipe.lr, study.plan.seeds, study.recipe.epochs) == (1.0, 5, 4)
    assert study.arms == {"relu": {"bottleneck": "relu"}}


def test_every_problem_of_a_file_comes_in_one_answer(write: Write) -> None:
    found = problems(
        write(
            """
            matches = "macs"
            expect = { relu = "wors" }
            [control]
            net = "mobilenet_v3"
            botleneck = "relu"
            [arms.relu]
            bottleneck = "rel"
            [arms."a b"]
            conv = "full"
            [recipe]
            epochs = 0
            lr = "x"
            batch_size = 2.5
            flip = 1
            momentum = nan
            [decision]
            metric = "accuracy"
            [plan]
            seedz = 3
            [budget.full]
            recipe.ema = 2
            """
        )
    )
    assert found["matches"].startswith("is not a key of a study; did you mean 'match'?")
    assert found["expect.relu"].startswith("must be one of better, worse,")
    assert found["expect.relu"].endswith("got 'wors'; did you mean 'worse'?")
    assert found["control.net"].endswith("got 'mobilenet_v3'; did you mean 'mobilenet_v2'?")
    assert found["control.botleneck"].startswith("is not a field of a net; did you mean 'bottleneck'?")
    assert found["arms.relu.bottleneck"] == "must be one of linear, relu; got 'rel'; did you mean 'relu'?"
    assert found["arms.a b"].startswith("must start with a letter or digit")
    assert found["recipe.epochs"] == "must be at least 1 and at most 100000, got 0"
    assert found["recipe.lr"] == "must be a number, got 'x'"
    assert found["recipe.batch_size"] == "must be a whole number, got 2.5"
    assert found["recipe.flip"] == "must be true or false, got 1"
    assert found["recipe.momentum"] == "must be a finite number, got nan"
    assert found["decision.metric"].endswith("got 'accuracy'; did you mean 'test_accuracy'?")
    assert found["plan.seedz"].startswith("is not a key of a study; did you mean 'seeds'?")
    assert found["budget.full.recipe.ema"] == "must be at least 0 and below 1, got 2"
    assert len(found) == 14


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("[arms.a]\nbottleneck='linear'", "arms.a", "changes nothing: bottleneck = 'linear' is what the control has"),
        ("[arms.a]", "arms.a", "changes nothing: an empty table is what the control has"),
        ("[arms.a]\nconv='full'\n[arms.b]\nconv='full'", "arms.b", "is the same as arms.a"),
        ("[arms.control]\nconv='full'", "arms.control", "may not be called 'control'"),
        ("[arms.noise_floor]\nconv='full'", "arms.noise_floor", "may not be called 'noise_floor'"),
        ("[arms.a]\nnet='resnet'", "arms.a.net", "did you mean 'resnet50'?"),
        ("[arms.a]\nin_channels=3", "arms.a.in_channels", "is not a field of a net"),
        ("[arms.a]\nexpand_ratio=0", "arms.a.expand_ratio", "must be from 1 to 64, got 0"),
        ("[arms.a]\nconv=2020-01-01", "arms.a.conv", "must be text, a number, true or false"),
        (
            "control={width_mult=2}\n[arms.a]\nconv='full'",
            "control.net",
            "is missing: name a net, one of mobilenet_v2,",
        ),
        ("control=3", "control", "must be a table, got 3"),
        ("arms=[]", "arms", "must be a table, got []"),
        ("", "arms", "must hold at least one arm"),
        ("[arms.a]\nconv='full'\n[factors]\nconv=['depthwise','full']", "factors", "and [arms] exclude each other"),
        ("[factors]\nconv=['full','half']", "factors.conv", "must be one of depthwise, full, fused; got 'half'"),
        ("[factors]\nconv=['full']", "factors.conv", "must list two or more different levels, got ['full']"),
        ("[factors]\ndropout=[0.1,0.3]", "factors.dropout", "must hold the control's own level 0.2"),
        ("[factors]\nexpand_ratio=[1,6]", "factors.expand_ratio", "differs among the control's stages (1, 6)"),
        ("[factors]\nconf=['full','depthwise']", "factors.conf", "did you mean 'conv'?"),
        ("expect={relo='worse'}" + GOOD, "expect.relo", "is not an arm of this study; did you mean 'relu'?"),
        ("[data]\nname='mnits'" + GOOD, "data.name", "did you mean 'mnist'?"),
        ("[recipe]\nwarmup_epochs=9" + GOOD, "recipe.warmup_epochs", "must be below epochs = 4, got 9"),
        ("epochs=4" + GOOD, "epochs", "did you mean 'recipe.epochs'?"),
        ("name='x'" + GOOD, "name", "is not written in the file"),
        ('title="a\\u0007"' + GOOD, "title", "must be one line without control characters"),
        ("budget=3" + GOOD, "budget", "must be tables [budget.NAME], got 3"),
        ("[budget]\nfull=3" + GOOD, "budget.full", "must be a table, got 3"),
        ("[design]\nruns=8" + GOOD, "design.runs", "is not read by a study of design 'one_change'"),
        ("[design]\nkind='add_one_in'", "design.to", "is missing"),
        ("[design]\nkind='factorial'", "factors", "must hold at least one factor"),
        ("[recipe]\nlearning_rate=1" + GOOD, "recipe.learning_rate", "did you mean 'lr'?"),
        ("learning_rate=1" + GOOD, "learning_rate", "did you mean 'recipe.lr'?"),
        ("[arms.a]\nactivation='ReLU'", "arms.a.activation", "got 'ReLU'; did you mean 'relu'?"),
        ("[arms.a]\nactivation='Hard-Swish'", "arms.a.activation", "got 'Hard-Swish'; did you mean 'hardswish'?"),
        ("match='flops'" + GOOD, "match", "got 'flops'; did you mean 'macs'?"),
        ("match='MACs'" + GOOD, "match", "got 'MACs'; did you mean 'macs'?"),
        (
            "[decision]\nmargin=0.5" + GOOD,
            "decision.margin",
            "must be at most 0.2, got 0.5: test_accuracy goes from 0 to",
        ),
        (
            "[decision.co_primary.test_los]\nmargin=0.1" + GOOD,
            "decision.co_primary.test_los",
            "did you mean 'test_loss'?",
        ),
        ("[decision.co_primary.test_loss]\nunit='x'" + GOOD, "decision.co_primary.test_loss.margin", "is missing"),
        (
            "[decision.co_primary.test_loss]\nmargin=0.1\nunit='x'" + GOOD,
            "decision.co_primary.test_loss.unit",
            "is declared with a trainer or a command",
        ),
        (
            "[decision.co_primary.test_accuracy]\nmargin=0.1" + GOOD,
            "decision.co_primary.test_accuracy",
            "is decision.metric itself",
        ),
        (
            "[decision.co_primary.val_accuracy]\nmargin=0.5" + GOOD,
            "decision.co_primary.val_accuracy.margin",
            "must be at most 0.2, got 0.5",
        ),
        ("[arms]\nbottleneck='relu'", "arms.bottleneck", "write [arms.NAME], with bottleneck = 'relu' below it"),
        ("[arms]\nmine='relu'", "arms.mine", "must be a table, got 'relu': write [arms.NAME], with bottleneck = "),
        ("[arms.a]\nrecipe.lr=1\n'recipe.lr'=2", "arms.a.recipe.lr", "is written twice: in quotes and as a table"),
    ],
)
def test_each_fault_is_named_with_its_key_and_what_is_allowed(write: Write, text: str, key: str, message: str) -> None:
    assert message in problems(write(text))[key]


def test_another_librarys_activation_is_no_typo_of_ours(write: Write) -> None:
    message = problems(write("[arms.a]\nactivation='gelu'"))["arms.a.activation"]
    assert message == f"must be one of {', '.join(LEVELS['activation'])}; got 'gelu'"


@pytest.mark.parametrize("margin", [0.2, 0.005])
def test_a_margin_of_a_loss_and_a_margin_in_the_unit_of_accuracy_are_taken(write: Write, margin: float) -> None:
    assert load_study(write(f"[decision]\nmargin={margin}" + GOOD)).decision.margin == margin
    assert load_study(write("[decision]\nmetric='test_loss'\nmargin=0.5" + GOOD)).decision.margin == 0.5


def test_what_is_wrong_in_several_tables_comes_in_one_answer_with_what_contradicts(write: Write) -> None:
    found = problems(
        write("[recipe]\nlr=0\n[decision]\nmargin=0.5\n[data]\nname='mnits'\n[arms.a]\nconv='half'\n[tuning]\ntrials=2")
    )
    assert set(found) == {"recipe.lr", "decision.margin", "data.name", "arms.a.conv"}
    found = problems(write("[decision]\nmargin=0.5\n[data]\nname='mnits'\n[tuning]\ntrials=2\n[arms.a]\nrecipe.lr=0"))
    assert set(found) == {"decision.margin", "data.name", "tuning.space", "arms.a.recipe.lr"}


def test_each_error_is_told_under_the_layer_that_wrote_it_last(write: Write) -> None:
    text = (
        GOOD + "[recipe]\nlr = 0\nema = 2\n[plan]\nseeds = 0\n[budget.full]\nrecipe.lr = -1\nplan.until = 'settled'\n"
    )
    with pytest.raises(StudyError) as caught:
        load_study(write(text), budget="full", overrides={"recipe.ema": 3, "arms.relu.bottleneck": "linear"})
    where = {(problem.where, problem.key) for problem in caught.value.problems}
    file = str(caught.value.problems[0].where)
    assert where == {
        (file, "budget.full.recipe.lr"), ("--set", "recipe.ema"), (file, "plan.seeds"), ("--set", "arms.relu"),
        (file, "recipe.lr"), (file, "recipe.ema"),  # of the budget quick
    }  # fmt: skip


def test_a_key_that_nobody_wrote_is_told_where_its_table_was_written(write: Write) -> None:
    path = write(GOOD + "[budget.full]\ntuning.seeds = 2\n")
    assert set(problems(path)) == {"budget.full.tuning.trials"}
    with pytest.raises(StudyError) as caught:
        load_study(write(GOOD), overrides={"tuning.seeds": 2})
    assert [(problem.where, problem.key) for problem in caught.value.problems] == [("--set", "tuning.trials")]


def test_a_file_that_is_no_toml_is_placed_by_line_and_column(write: Write) -> None:
    assert "(at line 2, column 7)" in problems(write("[control]\nnet = \n"))[""]


def test_a_file_that_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, write: Write) -> None:
    (tmp_path / "latin.toml").write_bytes(b"title = '\xe9'")
    assert "must be UTF-8 text; byte 9 is not" in problems(tmp_path / "latin.toml")[""]
    assert "is not a file" in problems(tmp_path)[""]
    assert "there is no such file" in problems(tmp_path / "none.toml")[""]
    assert "that is the study's name" in problems(write(GOOD, "a b.toml"))[""]


@pytest.mark.parametrize(
    "text",
    [
        ".".join(["a"] * 32000) + " = 1",
        "\n".join([".".join([f"a{i}"] * 400) + " = 1" for i in range(36)]),
        "x = " + "[" * 1900,
        "x = " + "[" * 300 + "]" * 300,
        "x = " + "{a=" * 60 + "1" + "}" * 60,
        "x = '" + "y" * 70000 + "'",
        "x = '''" + "y\n" * 40000 + "'''",
        "x = 1" + "0" * 1900,
        "\n".join(f"[arms.a{i}]\nwidth_mult = {1 + i / 1000}" for i in range(1500)),
        "[factors]\n"
        + "\n".join(f"{name} = [1, 2, 3, 4, 5, 6, 7, 8]" for name in ("divisor", "stem_stride", "width_mult")),
    ],
    ids=["dots", "many dots", "brackets", "lists", "tables", "line", "size", "digits", "arms", "factors"],
)
def test_a_huge_or_deeply_nested_file_ends_in_an_error_and_not_in_a_hang(write: Write, text: str) -> None:
    start = time.process_time()
    assert problems(write(text))
    assert time.process_time() - start < 15


def test_a_budget_is_laid_over_the_file(write: Write) -> None:
    path = write(GOOD + "[recipe]\nlr = 0.5\n[budget.full]\ncontrol.net = 'mobilenet_v2_cifar'\nrecipe.epochs = 30\n")
    full = load_study(path, budget="full")
    assert (full.control["net"], full.recipe.epochs, full.recipe.lr, full.budget) == (
        "mobilenet_v2_cifar",
        30,
        0.5,
        "full",
    )
    assert load_study(path).recipe.epochs == 4


def test_the_other_budgets_are_checked_too(write: Write) -> None:
    path = write(GOOD + "[budget.full]\nrecipe.epochs = 'many'\narms.relu.bottleneck = 'linear'\n")
    assert set(problems(path)) == {"budget.full.recipe.epochs", "budget.full.arms.relu"}
    path = write(GOOD + "[budget.full]\narms.relu.bottleneck = 'linear'\n")
    assert set(problems(path)) == {"budget.full.arms.relu"}


def test_an_unknown_budget_lists_those_that_there_are(write: Write) -> None:
    message = problems(write(GOOD + "[budget.full]\nplan.seeds = 9\n"), budget="ful")[""]
    assert message == "has no budget 'ful'; did you mean 'full'? (there are: quick, full)"


def test_overrides_come_last_and_are_named_as_such(write: Write) -> None:
    path = write(GOOD + "[recipe]\nlr = 0.5\n[budget.full]\nrecipe.lr = 0.4\n")
    study = load_study(path, budget="full", overrides={"recipe.lr": 0.3, "arms.relu.conv": "full"})
    assert study.recipe.lr == 0.3
    assert study.arms["relu"] == {"bottleneck": "relu", "conv": "full"}
    with pytest.raises(StudyError) as caught:
        load_study(path, overrides={"plan.seeds": 0, "recipe..lr": 1, "recipe.lr.x": 1})
    assert {(problem.where, problem.key) for problem in caught.value.problems} == {
        ("--set", "plan.seeds"),
        ("--set", "recipe..lr"),
        ("--set", "recipe.lr"),
    }


@pytest.mark.parametrize("name", ["relu", "relu@macs", "relu@params"])
def test_an_expectation_may_be_of_an_arm_at_equal_cost(write: Write, name: str) -> None:
    text = f'match = "macs"\nexpect = {{ "{name}" = "worse" }}' + GOOD
    assert load_study(write(text)).expect == {name: "worse"}
    assert load_study(write(text), overrides={"match": "none"}).expect == {name: "worse"}
    assert f"expect.{name}s" in problems(write(text.replace(name, f"{name}s", 1)))


def test_an_expectation_may_be_of_a_factor_or_an_interaction(write: Write) -> None:
    text = 'expect = { conv = "better", "residual:conv" = "equivalent" }\n[factors]\n'
    text += 'residual = ["inverted", "classic"]\nconv = ["depthwise", "full"]\n'
    assert set(load_study(write(text)).expect) == {"conv", "residual:conv"}
    assert "expect.conv:x" in problems(write(text.replace("residual:conv", "conv:x")))


def test_merging_replaces_leaves_and_keeps_neighbours() -> None:
    below = {"a": {"b": 1, "c": {"d": 2}}, "e": [1]}
    assert merge(below, {"a": {"c": {"f": 3}}, "e": [2]}) == {"a": {"b": 1, "c": {"d": 2, "f": 3}}, "e": [2]}
    assert below == {"a": {"b": 1, "c": {"d": 2}}, "e": [1]}


def test_a_study_of_the_current_directory_hides_the_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = find_study("linear_bottleneck").resolve()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "linear_bottleneck.toml").write_text(GOOD)
    assert find_study("linear_bottleneck") == Path("studies/linear_bottleneck.toml")
    assert find_study("linear_bottleneck").resolve() != shipped
    assert find_study("relu6").resolve() == shipped.with_name("relu6.toml")
    assert {"relu6", "toggles", "linear_bottleneck"} <= {path.stem for path in list_studies()}


@pytest.mark.parametrize("name", ["linear_botleneck", "", "..", "a\0b"])
def test_an_unknown_study_lists_the_known_ones(name: str) -> None:
    with pytest.raises(StudyError, match=r"there is no such study.*linear_bottleneck"):
        load_study(name)


def test_the_name_of_a_file_in_the_current_folder_is_answered_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(GOOD)
    with pytest.raises(StudyError, match=r"study 'mine': .*for the file here, give mine\.toml"):
        load_study("mine")
    assert load_study("mine.toml").name == "mine"


def test_listing_studies_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from ablate.design.forecast import rough_forecast\n"
        "from ablate.design.read import list_studies, load_study\n"
        "assert all(rough_forecast(load_study(path)) for path in list_studies())\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'scipy', 'mlflow', 'optuna'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
