"""A tiny character language model on the language reference that comes with Python (pydoc_data.topics).

The last characters are embedded and go through one hidden layer (Bengio et al. 2003, JMLR 3).
"""

import math
from pydoc_data.topics import topics

import torch
from torch import nn
from torch.nn import functional

EMBEDDED = 16  # numbers a character
BATCH = 256
EVERY = 100  # steps between two points of the learning curve


def text() -> tuple[torch.Tensor, torch.Tensor, int]:
    """Training and validation characters as numbers, and how many different ones there are."""
    letters = "".join(topics[name] for name in sorted(topics))[:200_000]
    known = sorted(set(letters))
    place = {letter: number for number, letter in enumerate(known)}
    codes = torch.tensor([place[letter] for letter in letters])
    return codes[:-10_000], codes[-10_000:], len(known)


class Model(nn.Module):
    """Logits (N, characters) of the next character, from the last ones (N, context)."""

    def __init__(self, characters: int, context: int, width: int, shortcut: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, EMBEDDED)
        self.hidden = nn.Linear(context * EMBEDDED, width)
        self.out = nn.Linear(width, characters)
        self.direct = nn.Linear(context * EMBEDDED, characters) if shortcut else None

    def forward(self, last: torch.Tensor) -> torch.Tensor:
        read = self.embed(last).flatten(1)
        logits = self.out(torch.relu(self.hidden(read)))
        return logits if self.direct is None else logits + self.direct(read)


def windows(codes: torch.Tensor, starts: torch.Tensor, context: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The characters (N, context) from each start, and the one that follows (N,)."""
    return codes[starts[:, None] + torch.arange(context)], codes[starts + context]


@torch.inference_mode()
def bits(model: Model, codes: torch.Tensor, context: int) -> float:
    """Mean bits a character."""
    last, following = windows(codes, torch.arange(len(codes) - context), context)
    return functional.cross_entropy(model(last), following).item() / math.log(2)


def train(trial) -> dict[str, float]:
    """Called by ablate once a trial; torch's generator is seeded with the trial's seed already."""
    training, validation, characters = text()
    context, steps = trial.fields.context, trial.fields.steps
    model = Model(characters, context, trial.fields.width, trial.fields.shortcut)
    optimizer = torch.optim.AdamW(model.parameters(), lr=trial.fields.lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, trial.fields.lr, total_steps=steps)
    for step in range(1, steps + 1):
        last, following = windows(training, torch.randint(len(training) - context, (BATCH,)), context)
        loss = functional.cross_entropy(model(last), following)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % EVERY == 0:
            trial.report(step, {"val_bits": bits(model, validation, context), "train_bits": loss.item() / math.log(2)})
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return {
        "val_bits": bits(model, validation, context),
        "params": sum(weight.numel() for weight in model.parameters()),
        "macs": sum(module.weight.numel() for module in linear),
    }
