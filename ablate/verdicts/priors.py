"""How much paired differences are expected to vary before any record is there, by data set and net."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from ablate.design.plan import CampaignPlan

# CIFAR-10, ResNet-9, between seeds (arXiv:2304.01910): epochs, standard deviation of one training's accuracy.
CIFAR10 = ((4, 0.0056), (16, 0.0019), (64, 0.0015))


@dataclass(frozen=True)
class Prior:
    """A standard deviation of paired differences in accuracy (0 to 1) and where it comes from."""

    sd: float
    source: str


# What the shipped studies showed (docs/results.md): at least four of five contrasts of MobileNetV2 on mnist5k vary by
# less than this, half of those of MobileNetV1, of which some seeds fail; and linear_bottleneck's on CIFAR-10.
MNIST5K_V2 = Prior(0.010, "at least four of five contrasts of MobileNetV2 on mnist5k vary by less")
MNIST5K_V1 = Prior(0.035, "half of the contrasts of MobileNetV1 on mnist5k vary by less, and single seeds fail")
CIFAR10_MOBILENET = (9, 0.012)


def prior(plan: CampaignPlan) -> Prior:
    """What is known of differences in accuracy on the plan's data with its control's net."""
    data, net = plan.study.data.name, str(plan.study.control.get("net", ""))
    if data == "cifar10":
        return _cifar10(plan.study.recipe.epochs, net)
    if data != "mnist5k":
        return Prior(MNIST5K_V2.sd, f"nothing is known of {data}; {MNIST5K_V2.source}")
    return MNIST5K_V1 if net.startswith("mobilenet_v1") else MNIST5K_V2


def _cifar10(epochs: int, net: str) -> Prior:
    """By the spread of ResNet-9; a MobileNet varies more, and is assumed to gain as much by further epochs."""
    if not net.startswith("mobilenet"):
        source = f"ResNet-9 on CIFAR-10 at {epochs} epochs between unpaired seeds, arXiv:2304.01910"
        return Prior(_resnet9(epochs), source)
    at, seen = CIFAR10_MOBILENET
    source = f"linear_bottleneck on CIFAR-10 at {at} epochs"
    if epochs == at:
        return Prior(seen, source)
    return Prior(seen * _resnet9(epochs) / _resnet9(at), f"{source}, scaled to {epochs} as ResNet-9 (arXiv:2304.01910)")


def _resnet9(epochs: int) -> float:
    """Of differences between unpaired seeds, by interpolation between the epochs that were measured."""
    known = np.log(np.array(CIFAR10))
    return math.sqrt(2) * math.exp(float(np.interp(math.log(epochs), known[:, 0], known[:, 1])))


def upper_sd(sd: float, n: int, confidence: float = 0.8) -> float:
    """The upper confidence limit of a standard deviation seen over n normal differences.

    Sample sizes that are counted with it are enough in ``confidence`` of the cases (Browne 1995, Stat. Med. 14).
    """
    return sd * math.sqrt((n - 1) / float(special.chdtri(n - 1, confidence)))
