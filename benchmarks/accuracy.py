"""Claim: the fast paths change no result: what is trained is as good as what the plain way trains.

Goal: the accuracy of 8 seeds is not told from that of the plain loop's (p of no difference at least .05).

Measured: mobilenet_v2_mnist on mnist5k, two epochs, the same recipe and order of the data a seed. The plain loop has
torchvision's modules in N C H W, an initialisation of its own, torch's unfused Adam and torch's default settings.
Differences are taken seed by seed; the p-value is that of the exact sign-flip test, the interval Student's.

    python benchmarks/accuracy.py [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import table
from interleaved import call_apart
from table import Row

PART = "accuracy"
BUDGET_S = 120
NET = "mobilenet_v2_mnist"
SEEDS, EPOCHS, LR, ALPHA = 8, 2, 6e-3, 0.05


def harness(seeds: int) -> list[float]:
    """Test accuracy of each seed in percent."""
    from workloads import MNIST, seeds_of

    from ablate.training.fit import fit

    trials, images = seeds_of(MNIST, Path(tempfile.mkdtemp(prefix="bench-")), seeds, epochs=EPOCHS, lr=LR)
    return [100 * fit(trial, images).metrics["test_accuracy"] for trial in trials]


def plain(seeds: int) -> list[float]:
    """The same for the plain way, with the recipe's schedule and weight decay."""
    import torch
    from plain_net import PlainNet
    from workloads import MNIST, seeds_of

    from ablate.training.feed import Feed
    from ablate.training.optim import make_optimizer, rate_at, set_rate

    trials, images = seeds_of(MNIST, Path(tempfile.mkdtemp(prefix="bench-")), seeds, epochs=EPOCHS, lr=LR)
    found = []
    for trial in trials:
        torch.manual_seed(trial.seed)
        net, recipe, feed = PlainNet(trial.spec).train(), trial.recipe, Feed(images, trial.recipe, trial.seed)
        groups = make_optimizer(net, recipe).param_groups
        optimizer = torch.optim.Adam(
            [{"params": group["params"], "weight_decay": group["weight_decay"]} for group in groups], fused=False
        )
        steps = itertools.chain.from_iterable(map(feed.epoch, range(EPOCHS)))
        for step, (batch, labels) in enumerate(steps):
            set_rate(optimizer, rate_at(recipe, step, feed.steps_per_epoch))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(batch.contiguous()), labels).backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            right = [
                (net(batch.contiguous()).argmax(1) == labels)
                for batch, labels in feed.whole(images.test, images.test_labels)
            ]
        found.append(100 * torch.cat(right).float().mean().item())
    return found


def _row(claim: str, ours: list[float], theirs: list[float]) -> Row:
    from ablate.verdicts.stats import paired_interval, sign_flip_p

    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    interval, p = paired_interval(differences), sign_flip_p(differences)
    mean = sum(differences) / len(differences)
    shown = f"p {p:.2f}; {mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}] points"
    return Row(part=PART, claim=claim, value=p, shown=shown, goal=ALPHA)


def measure(*, quick: bool = False) -> list[Row]:
    """The rows of this part; 8 seeds, or 2 if ``quick``."""
    seeds = 2 if quick else SEEDS
    ours: list[float] = call_apart("accuracy:harness", seeds=seeds)
    by_hand: list[float] = call_apart("accuracy:plain", seeds=seeds)
    lines = [
        f"- {name}: {', '.join(f'{value:.1f}' for value in values)} %"
        for name, values in (("harness", ours), ("plain loop", by_hand))
    ]
    table.write_profile(PART, "Test accuracy by seed:\n\n" + "\n".join(lines))
    return [_row(f"{NET}, accuracy of {seeds} seeds: harness less plain loop, p of no difference", ours, by_hand)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Accuracy of the fast paths against the plain ones.")
    parser.add_argument("--quick", action="store_true", help="two seeds")
    print(table.as_text(measure(quick=parser.parse_args().quick)))


if __name__ == "__main__":
    main()
