"""What a training image costs on this machine, by arithmetic: the constants of ablate/design/forecast.py.

Seconds of a training image on one core are taken as MAC_S for each multiply-add and ELEMENT_S for each number that an
operation reads or writes, fitted to seven nets at batch 64 so that the relative errors' squares are least.

    python benchmarks/forecast_fit.py
"""

from __future__ import annotations

import time

import numpy as np
from interleaved import call_apart

from ablate.design.study import Recipe
from ablate.model import zoo
from ablate.model.layers import layers
from ablate.model.spec import NetSpec

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)
TURNS, BATCH = 3, 64
WARM_UP, LEAST_STEPS, ENOUGH_S = 2, 3, 0.8
NETS: dict[str, tuple[NetSpec, tuple[int, int, int]]] = {
    "small MNIST net": (zoo.mobilenet_v2_mnist(), MNIST),
    "small MNIST net, full": (zoo.mobilenet_v2_mnist().with_blocks(conv="full"), MNIST),
    "small MNIST net, classic": (zoo.mobilenet_v2_mnist().with_blocks(residual="classic"), MNIST),
    "mobilenet_v2_cifar": (zoo.mobilenet_v2_cifar(), CIFAR),
    "mobilenet_v2_cifar, half as wide": (zoo.mobilenet_v2_cifar(width_mult=0.5), CIFAR),
    "MobileNetV2 at 64 pixels": (zoo.mobilenet_v2(width_mult=0.5), (3, 64, 64)),
    "MobileNetV1 0.25 at 64 pixels": (zoo.mobilenet_v1(width_mult=0.25), (3, 64, 64)),
}


def pace(net: str) -> float:
    """Training images a second of one thread, on noise."""
    import torch
    from torch.nn import functional

    from ablate.model.fused import kernels_name, with_kernels
    from ablate.model.nets import build
    from ablate.training.optim import make_optimizer
    from ablate.training.processor import keep_memory, processor

    keep_memory()
    spec, shape = NETS[net]
    model = build(spec, generator=torch.Generator().manual_seed(0)).train()
    if kernels_name():
        with_kernels(model)
    optimizer = make_optimizer(model, Recipe(batch_size=BATCH))
    images = torch.randn(BATCH, *shape).to(memory_format=torch.channels_last)
    labels = torch.randint(spec.num_classes, (BATCH,))
    steps, began = -WARM_UP, time.perf_counter()
    with processor(1):
        while steps < LEAST_STEPS or time.perf_counter() - began < ENOUGH_S:
            if steps == 0:
                began = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            steps += 1
    return steps * BATCH / (time.perf_counter() - began)


def main() -> None:
    rows, taken = [], []
    for name, (spec, (_, height, width)) in NETS.items():
        ops = layers(spec, height, width)
        rows.append([sum(op.macs for op in ops), sum(op.in_elements + op.out_elements for op in ops)])
        taken.append(1 / max(call_apart("forecast_fit:pace", net=name) for _ in range(TURNS)))
    work, seconds = np.array(rows, float), np.array(taken)
    fitted, *_ = np.linalg.lstsq(work / seconds[:, None], np.ones(len(seconds)), rcond=None)
    print(f"MAC_S = {fitted[0]:.1e}\nELEMENT_S = {fitted[1]:.1e}")
    for name, ratio in zip(NETS, work @ fitted / seconds, strict=True):
        print(f"{name}: estimated / measured {ratio:.2f}")


if __name__ == "__main__":
    main()
