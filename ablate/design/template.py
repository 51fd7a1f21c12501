"""A study file to start from, with a comment at every choice."""

from __future__ import annotations

import re
from pathlib import Path

from ablate.design.read import list_studies
from ablate.design.study import NAME_PATTERN, NAME_RULE
from ablate.errors import Problem, StudyError

OPTION = "--new"
TEMPLATE = """\
# python -m ablate.study {call} --plan   what would run, what it costs, what it can detect; trains nothing
# python -m ablate.study {call}          trains what is missing, judges, writes the report
# docs/studies.md lists every key. A line that begins with "# " and a key is a choice you can uncomment.

title    = "{title}"
question = "Does the ReLU after the projection cost accuracy?"
# source = "arXiv:1801.04381, section 3.2"

# What you expect, written before the runs: better, worse, equivalent, "no worse". The report says whether it held.
expect   = {{ relu_bottleneck = "worse" }}

# The arm that every other arm is compared with: a named net, and any field of it.
[control]
net = "mobilenet_v2_mnist"
# width_mult = 0.5

# An arm is what it changes against the control: fields of the net, of the recipe, or the amount of data.
[arms.relu_bottleneck]
bottleneck = "relu"

# [arms.no_shortcut]
# shortcut = "none"

# [arms.label_smoothing]
# recipe.label_smoothing = 0.1

[data]
name = "mnist5k"            # or cifar10, fashion_mnist, ..., or the path of your own .npz file

# How every arm is trained.
[recipe]
epochs     = 4
batch_size = 64
optimizer  = "adamw"        # sgd, adam, adamw, rmsprop
lr         = 6e-3
schedule   = "one_cycle"    # one_cycle, cosine, step, constant
# weight_decay = 5e-4
# flip = true

# Arms share their seeds, so that differences are paired. With fewer than 6, no arm can come out better or worse.
[plan]
seeds = 8

# The rule is sealed when the first trial starts.
[decision]
metric = "test_accuracy"    # test_accuracy, test_loss, val_accuracy, val_loss
margin = 0.005              # the smallest difference that matters: half a point of accuracy
alpha  = 0.05               # error rate over all contrasts of the study

# A larger version of the same study: python -m ablate.study {call} --budget large
# [budget.large]
# control.net = "mobilenet_v2_cifar"
# data.name = "cifar10"
# recipe.epochs = 30
"""


def write_template(name: str) -> Path:
    """Writes a study file to start from: ``studies/NAME.toml`` where there is such a folder here, else ``NAME.toml``.

    Args:
        name: of the study; ``mine.toml`` is the name ``mine``.

    Returns:
        The file.

    Raises:
        StudyError: the name is not allowed, a study has it already, or the folder cannot be written.
    """
    name = name.removesuffix(".toml")
    if not re.fullmatch(NAME_PATTERN, name):
        raise _refused(name, f"{NAME_RULE}, got {name!r}")
    file = Path(f"{name}.toml")
    taken = {path.stem: path for path in list_studies()}
    if file.exists() or name in taken:
        raise _refused(name, f"there is such a study already, {taken.get(name, file)}; choose another name")
    if Path("studies").is_dir():
        file = "studies" / file
    text = TEMPLATE.format(call=name if file.parent.name else file, title=name.replace("_", " ").capitalize())
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except OSError as error:
        raise _refused(name, f"{file}: cannot be written: {error.strerror}") from error
    return file


def _refused(name: str, message: str) -> StudyError:
    return StudyError([Problem(f"{OPTION} {name}", "", message)])
