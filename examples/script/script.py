"""A script as people have one: it takes options, trains, and prints. It ends by writing its metrics as JSON.

Logistic regression by gradient descent on two clouds of points, with NumPy alone.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    data, start = np.random.default_rng(0), np.random.default_rng(options.seed)
    labels = data.integers(0, 2, 400)
    points = data.standard_normal((400, 20)) + 0.35 * labels[:, None]
    weights, velocity, losses = start.standard_normal(20), np.zeros(20), []
    for epoch in range(20):
        chance = 1 / (1 + np.exp(-points[:200] @ weights))
        velocity = options.momentum * velocity - options.lr * points[:200].T @ (chance - labels[:200]) / 200
        weights += velocity
        logits = points[200:] @ weights
        losses.append(float(np.mean(np.logaddexp(0, logits) - labels[200:] * logits)))
        print(f"epoch {epoch + 1}: validation loss {losses[-1]:.4f}")  # noqa: T201 - it is a script
    accuracy = float(np.mean((logits > 0) == labels[200:]))

    if out := os.environ.get("ABLATE_OUT"):  # a list is a learning curve; its last number is the metric
        Path(out).write_text(json.dumps({"val_loss": losses, "val_accuracy": accuracy}))


main()
