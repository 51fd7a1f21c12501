"""Test images (of training of the user's own: test examples) on which an arm and the control disagree, as frames.

Records hold predictions and which of them are right, but no labels: an image's label is the answer of any trial that
was right. An image that no trial got right has no label, and counts in no confusion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablate.design.plan import CONTROL
from ablate.design.record import Record
from ablate.reporting.results import Results

Answers = NDArray[np.int64]
MOST_CLASSES = 20  # in one picture
BYTE_CLASSES = 256  # above them a prediction takes two bytes
NO_LABEL = -1


def widest(results: Results) -> str | None:
    """The arm that lies furthest from the control; None where nothing was judged."""
    found = [v.contrast for v in results.judgement.verdicts if v.contrast is not None]
    return max(found, key=lambda one: abs(one.mean_difference)).arm if found else None


def answers(results: Results, arm: str) -> Answers:
    """Predicted classes (seeds, images) of an arm's finished trials with predictions; no rows where there are none."""
    known = results.plan.data.num_classes
    kept = [_predictions(record, known) for record in _records(results, arm)]
    return np.stack(kept) if kept and len({len(one) for one in kept}) == 1 else np.empty((0, 0), np.int64)


def _records(results: Results, arm: str) -> list[Record]:
    found = [results.records.get(trial.key) for trial in results.plan.arm_trials(arm)]
    return [record for record in found if record is not None and record.predictions and record.correct]


def _predictions(record: Record, classes: int) -> Answers:
    kind = np.dtype("u1") if 0 < classes <= BYTE_CLASSES else np.dtype("<u2")
    whole = len(record.predictions) // kind.itemsize * kind.itemsize  # anything can be in a file
    return np.frombuffer(record.predictions[:whole], kind).astype(np.int64)


def labels(results: Results, arms: Sequence[str]) -> Answers:
    """The label of each test image that a trial of these arms got right; ``NO_LABEL`` for the others."""
    known = np.empty(0, np.int64)
    for arm in arms:
        for record in _records(results, arm):
            given = _predictions(record, results.plan.data.num_classes)
            right = np.unpackbits(np.frombuffer(record.correct, np.uint8), count=len(given)).astype(bool)
            known = known if len(known) else np.full(len(given), NO_LABEL)
            if len(known) != len(given):
                continue  # of other images than the first record's
            known[right] = given[right]
    return known


def confusion(results: Results, arm: str) -> pd.DataFrame:
    """label, answer, control, arm, difference: images a seed; empty where predictions were not kept.

    ``difference`` is arm minus control. Right answers are left out: what is lost there is found in the wrong ones.
    """
    theirs, own, known = answers(results, CONTROL), answers(results, arm), labels(results, [CONTROL, arm])
    classes = results.plan.data.num_classes
    if not classes and len(theirs) and len(own):  # of training of the user's own they are those that were seen
        classes = int(max(theirs.max(), own.max(), known.max())) + 1
    if not (len(theirs) and len(own)) or classes > MOST_CLASSES:
        return pd.DataFrame(columns=["label", "answer", "control", "arm", "difference"])
    before, after = (_counts(given, known, classes) for given in (theirs, own))
    label, answer = np.divmod(np.arange(classes**2), classes)
    wrong = label != answer
    table = pd.DataFrame({"label": label, "answer": answer, "control": before.ravel(), "arm": after.ravel()}).assign(
        difference=lambda frame: frame["arm"] - frame["control"]
    )
    kept: pd.DataFrame = table[wrong].reset_index(drop=True)
    return kept


def _counts(given: Answers, known: Answers, classes: int) -> NDArray[np.float64]:
    """How often each label was given each answer, a seed."""
    seen = (known != NO_LABEL) & (known < classes) & (given < classes).all(axis=0)  # anything can be in a file
    cells = known[seen] * classes + given[:, seen]
    return np.bincount(cells.ravel(), minlength=classes**2).reshape(classes, classes) / len(given)


def disagreements(results: Results, arm: str, most: int = 12) -> pd.DataFrame:
    """image, label, control_right, arm_right, answer: the images on which the arm and the control differ most.

    ``control_right`` and ``arm_right`` are shares of the seeds, ``answer`` is the arm's most frequent one.
    """
    theirs, own, known = answers(results, CONTROL), answers(results, arm), labels(results, [CONTROL, arm])
    if not (len(theirs) and len(own)):
        return pd.DataFrame(columns=["image", "label", "control_right", "arm_right", "answer"])
    before, after = ((given == known).mean(axis=0) for given in (theirs, own))
    order = np.argsort(-np.abs(after - before), kind="stable")[:most]
    order = order[before[order] != after[order]]
    return pd.DataFrame(
        {
            "image": order,
            "label": known[order],
            "control_right": before[order],
            "arm_right": after[order],
            "answer": [int(np.bincount(own[:, image]).argmax()) for image in order],
        }
    )
