"""A small net for tabular regression in scikit-learn's manner, on data of Friedman (1991, Ann. Statist. 19, eq. 61).

Five of the ten columns decide the target, which has noise of standard deviation 1: no model's error can be lower.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import nn

COLUMNS = 10


def friedman(rows: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (rows, 10), uniform from 0 to 1, and targets (rows,)."""
    x = generator.uniform(size=(rows, COLUMNS))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return x, y + generator.standard_normal(rows)


class MLPRegressor:
    """Layers of equal width, trained by AdamW; ``fit`` and ``predict`` as in scikit-learn."""

    def __init__(self, *, layers: int, width: int, dropout: float, scaled: bool, lr: float, epochs: int) -> None:
        self.scaled, self.lr, self.epochs = scaled, lr, epochs
        sizes = [COLUMNS, *[width] * layers]
        hidden = [
            part
            for before, after in pairwise(sizes)
            for part in (nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout))
        ]
        self.net = nn.Sequential(*hidden, nn.Linear(sizes[-1], 1))

    def _read(self, x: np.ndarray) -> torch.Tensor:
        return torch.tensor((x - self.mean) / self.sd, dtype=torch.float32)

    def fit(self, x: np.ndarray, y: np.ndarray, after_epoch=print) -> "MLPRegressor":
        self.mean, self.sd = (x.mean(0), x.std(0)) if self.scaled else (0.0, 1.0)
        inputs, targets = self._read(x), torch.tensor(y, dtype=torch.float32)
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.lr)
        for epoch in range(1, self.epochs + 1):
            self.net.train()
            for rows in torch.randperm(len(inputs)).split(64):
                loss = nn.functional.mse_loss(self.net(inputs[rows])[:, 0], targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            after_epoch(epoch)
        return self

    @torch.inference_mode()
    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.net.eval()(self._read(x))[:, 0].numpy()


def rmse(model: MLPRegressor, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sqrt(np.mean((model.predict(x) - y) ** 2)))


def train(trial) -> dict[str, float]:
    """Called by ablate once a trial; the data are the same in all of them, the weights follow the trial's seed."""
    x, y = friedman(3000, np.random.default_rng(0))
    parts = {"train": slice(0, 1000), "val": slice(1000, 2000), "test": slice(2000, 3000)}
    model = MLPRegressor(**trial.fields)
    model.fit(
        x[parts["train"]],
        y[parts["train"]],
        after_epoch=lambda epoch: trial.report(epoch, {"val_rmse": rmse(model, x[parts["val"]], y[parts["val"]])}),
    )
    shown = ("val",) if trial.phase == "tuning" else ("val", "test")
    return {f"{part}_rmse": rmse(model, x[parts[part]], y[parts[part]]) for part in shown} | {
        "params": sum(weight.numel() for weight in model.net.parameters())
    }
