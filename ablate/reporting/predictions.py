"""A net's answers as a frame, as printed text, and as a figure of the images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ablate.reporting.canvas import note_below, page
from ablate.reporting.labels import short
from ablate.reporting.style import COLOURS, number

if TYPE_CHECKING:
    from ablate.campaign.predict import Answers

COLUMNS, MOST = 6, 24  # of images in a figure
FACTS = ("image", "true", "predicted", "probability", "second", "second_probability", "right")


def prediction_frame(answers: Answers) -> pd.DataFrame:
    """``FACTS`` and a column for each class with its probability, an image a row.

    ``true`` and ``right`` are None where the class of the image is not known.
    """
    shares, classes = answers.probabilities, np.array(answers.classes, object)
    order = np.argsort(-shares, axis=1, kind="stable")
    rows = np.arange(len(shares))
    best, second = order[:, 0], order[:, 1]
    facts = {
        "image": answers.names,
        "true": [None if truth is None else classes[truth] for truth in answers.truths],
        "predicted": classes[best],
        "probability": shares[rows, best],
        "second": classes[second],
        "second_probability": shares[rows, second],
        "right": [
            None if truth is None else bool(truth == one) for truth, one in zip(answers.truths, best, strict=True)
        ],
    }
    each = {f"p({name})": shares[:, number] for number, name in enumerate(answers.classes)}
    return pd.DataFrame(facts | each).astype({"true": object, "right": object})


def mistakes(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows whose answer is wrong, the most confident first; the index says which image."""
    wrong = frame[[one is False for one in frame["right"]]]
    return wrong.sort_values("probability", ascending=False, kind="stable")


def printed_predictions(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as people read it."""
    percent = {name: [f"{number(value, 1, 100)} %" for value in frame[name]] for name in _SHARES}
    truths = {"true": frame["true"], "right": ["yes" if one else "no" for one in frame["right"]]}
    known = all(truth is not None for truth in frame["true"])
    return pd.DataFrame(
        {"image": frame["image"]}
        | ({"true": truths["true"]} if known else {})
        | {"predicted": frame["predicted"], "probability": percent["probability"]}
        | {"second": frame["second"], "its probability": percent["second_probability"]}
        | ({"right": truths["right"]} if known else {})
    )


_SHARES = ("probability", "second_probability")


def gallery(answers: Answers, frame: pd.DataFrame) -> Figure:
    """The images of the frame's first rows with what the net says of each; mistakes in the second colour.

    Args:
        answers: has the images.
        frame: rows of ``prediction_frame``; at most ``MOST`` are drawn.
    """
    drawn = frame.head(MOST)
    rows = -(-len(drawn) // COLUMNS)
    with page(0.3 + 1.85 * rows, rows, COLUMNS) as (figure, panels):
        for axes in panels:
            axes.set_axis_off()
        for axes, (position, row) in zip(panels, drawn.iterrows(), strict=False):
            image = answers.images[int(str(position))]
            axes.imshow(image if image.shape[2] == 3 else image[:, :, 0], cmap="gray", vmin=0, vmax=255)
            axes.set_title(_title(row), loc="center", fontsize=7.5, color=COLOURS[row["right"] is False and 1])
        note_below(figure, f"drawn: the first {len(drawn)} of {len(frame):,}" if len(frame) > len(drawn) else "")
        return figure


def _title(row: pd.Series) -> str:
    name = f"#{row['image']}" if row["true"] is not None else Path(str(row["image"])).name
    told = f"{short(name, 18)}\n{short(str(row['predicted']), 14)} ({number(row['probability'], 0, 100)} %)"
    return f"{told}\ntrue: {short(str(row['true']), 14)}" if row["right"] is False else told
