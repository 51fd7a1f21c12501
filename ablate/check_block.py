"""``python -m ablate.check_block my_package.blocks:MyBlock``: whether a block of your own keeps the protocol."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import torch
from torch import nn

from ablate.command_line import exit_status
from ablate.design.own_block import own_block
from ablate.measure.modules import module_cost
from ablate.model.parts import OwnPart
from ablate.model.spec import BlockSpec
from ablate.training.own_block import make_block
from ablate.training.user_code import UserCodeError, told

CASES = ((16, 16, 1), (16, 24, 1), (16, 24, 2))  # channels in and out, stride
SIDES = (9, 8)  # height and width, one of them odd


def main(arguments: list[str] | None = None) -> int:
    """Prints what each case costs, or what is wrong with it; 1 where anything is, 2 where there is no such block."""
    parser = argparse.ArgumentParser(prog="python -m ablate.check_block", description=__doc__)
    parser.add_argument("path", help="import path of the class, PACKAGE.MODULE:CLASS")
    path = parser.parse_args(arguments).path
    failures: list[str] = []
    status = exit_status(
        "check_block", lambda: failures.extend(failure for case in CASES for failure in check(path, *case))
    )
    return status or int(bool(failures))


def check(path: str, channels: int, out: int, stride: int) -> list[str]:
    """What is wrong with a block of these channels and this stride, printed; else what it costs.

    Raises:
        AblateError: there is no such block, or it cannot be made.
    """
    found = own_block(path)
    spec = BlockSpec(residual=path, source=found.digest, place=found.place)
    block = make_block(OwnPart(spec=spec, in_channels=channels, out_channels=out, stride=stride))
    case, problems = f"{channels} -> {out} channels, stride {stride}", list(broken(block, channels))
    for problem in problems:
        print(f"{case}: {problem}", file=sys.stderr)  # noqa: T201
    if not problems:
        cost, _ = module_cost(block, (channels, *SIDES), by_fvcore=False)
        print(f"{case}: {cost.params:,} parameters, {cost.macs:,} MACs on {SIDES[0]}x{SIDES[1]} pixels")  # noqa: T201
    return problems


def broken(block: nn.Module, channels: int) -> Iterator[str]:
    """A sentence for each promise that a block does not keep."""
    images = torch.randn(2, channels, *SIDES, generator=torch.Generator().manual_seed(0))
    try:
        answer = block.train()(images)
    except UserCodeError as error:
        yield str(error)
        return
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything
        yield f"the block cannot take a tensor {tuple(images.shape)}: {told(error)}"
        return
    if answer.requires_grad:
        (answer * torch.randn(answer.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    missed = [name for name, one in block.named_parameters() if one.requires_grad and one.grad is None]
    if missed:
        yield f"no gradient reaches {', '.join(missed)}"
    block.eval()
    with torch.no_grad():
        if not torch.equal(block(images), block(images)):
            yield "in eval mode the block gives different outputs for the same input"


if __name__ == "__main__":
    sys.exit(main())
