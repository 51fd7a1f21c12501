"""A block of the user's own inside one of our nets: the class is called once a block, in workers only."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from torch import Tensor, nn

from ablate.design.imported import Imported
from ablate.design.own_block import BLOCK_ARGUMENTS, OFFERED, residual_of
from ablate.model.nets import Net, initialise
from ablate.model.parts import OwnPart, parts
from ablate.model.spec import NetSpec
from ablate.training.user_code import UserCodeError, load_function, told


def make_block(part: OwnPart) -> nn.Module:
    """The module that the class makes of a part.

    Args:
        part: channels, stride and the block spec, of which the class gets the fields that its signature names.

    Raises:
        UserCodeError: it cannot be imported or called, or makes no module.
    """
    path = part.spec.residual
    source = Imported(path=path, digest=part.spec.source, place=part.spec.place)
    given = {name: getattr(part, name) for name in BLOCK_ARGUMENTS}
    called = load_function(source)
    given |= {name: getattr(part.spec, name) for name in _asked(called)}
    call = f"{path}({', '.join(f'{name}={value!r}' for name, value in given.items())})"
    try:
        block = called(**given)
    except Exception as error:
        raise UserCodeError(f"{call} failed: {told(error)}") from error
    if not isinstance(block, nn.Module):
        raise UserCodeError(f"{call} must make a torch.nn.Module, got {type(block).__name__}")

    def check(_: nn.Module, images: tuple[Tensor, ...], answer: object) -> None:
        wanted = (len(images[0]), part.out_channels, *(-(-side // part.stride) for side in images[0].shape[2:]))
        if not isinstance(answer, Tensor) or tuple(answer.shape) != wanted:
            found = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise UserCodeError(f"{call} must return a tensor {wanted} for {tuple(images[0].shape)}, got {found}")

    block.register_forward_hook(check)
    return block


def _asked(called: Callable[..., object]) -> list[str]:
    """The fields of a block that the signature names; all of them where it takes any name."""
    try:
        parameters = inspect.signature(called).parameters
    except (TypeError, ValueError):
        return []
    any_name = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    return [name for name in OFFERED if any_name or name in parameters]


def make_net(spec: NetSpec) -> Net:
    """The net with blocks of the user's own, which keep the initial weights that they give themselves."""
    net = Net(spec, make_block)
    for name, child in net.named_children():
        if name != "blocks":
            initialise(child)
    for part, module in zip(parts(spec).blocks, net.blocks, strict=True):
        if not isinstance(part, OwnPart):
            initialise(module)
    return net


def as_imported(spec: NetSpec) -> Imported:
    """The block of a net under its import path, for messages."""
    return Imported(path=residual_of(spec))
