"""The user's own net: made by a function at an import path, with initial weights from the trial's own stream."""

from __future__ import annotations

import hashlib
import inspect
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode

from ablate.design.datasets import DataInfo
from ablate.design.imported import CHANNEL_NAMES, CLASS_NAMES, Imported, Model
from ablate.design.own_block import is_ours
from ablate.design.trial import Seeds
from ablate.errors import nearest
from ablate.model.nets import build
from ablate.model.spec import NetSpec
from ablate.training.own_block import as_imported, make_net
from ablate.training.streams import generator, seed_globally, stream_seed
from ablate.training.user_code import UserCodeError, load_function, told


def build_model(model: Model, info: DataInfo, seed: int | Seeds) -> nn.Module:
    """The net of an arm with the initial weights of a seed, on the CPU: N C H W images in, N num_classes logits out.

    Args:
        model: a spec of ours, or a function of the user's.
        info: the data, which decide channels and classes.
        seed: of the trial.

    Raises:
        UserCodeError: the function cannot be called, or returns no net that takes these images.
    """
    if isinstance(model, NetSpec) and not is_ours(model):
        with drawn_by_shape(stream_seed(seed, "weights")):
            return make_net(model)
    if isinstance(model, NetSpec):
        return build(model, generator=generator(seed, "weights"))
    function = load_function(model)
    net = _called(function, model, info, seed)
    if any(map(is_lazy, net.parameters())):
        with drawn_by_shape(stream_seed(seed, "weights", 1)):
            answer(net, model, info)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UserCodeError(f"{model.path}: returned a net without a parameter to train")
    net.float().register_forward_pre_hook(_contiguous)
    return net


def _contiguous(_: nn.Module, images: tuple[Any, ...]) -> tuple[Any, ...]:
    """Images N C H W in memory too: in channels_last some of oneDNN's strided 1x1 convolutions give wrong gradients."""
    return tuple(one.contiguous() if isinstance(one, Tensor) else one for one in images)


def _called(function: Callable[..., Any], model: Imported, info: DataInfo, seed: int | Seeds) -> nn.Module:
    keywords = dict(model.keywords)
    last: Exception | None = None
    for of_data in _of_data(function, info):
        try:
            with drawn_by_shape(stream_seed(seed, "weights")):
                net = function(**{**of_data, **keywords})
        except TypeError as error:
            if not any(f"unexpected keyword argument '{name}'" in str(error) for name in of_data.keys() - keywords):
                raise UserCodeError(f"{_call(model)} failed: {told(error)}{_takes(function, error)}") from error
            last = error  # a function that passes its keywords on to one that does not know this one
        except Exception as error:
            raise UserCodeError(f"{_call(model)} failed: {told(error)}") from error
        else:
            if not isinstance(net, nn.Module):
                raise UserCodeError(f"{_call(model)} must return a torch.nn.Module, got {type(net).__name__}")
            return net
    raise UserCodeError(f"{_call(model)} failed: {last}")


def _of_data(function: Callable[..., Any], info: DataInfo) -> Iterator[dict[str, int]]:
    """What the data decide, under the names that the function's signature asks for.

    A function that passes keywords on (``**kwargs``) is tried with both names of the channels, then without them.
    """
    try:
        parameters = dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        parameters = {}
    named: dict[str, int] = {name: info.channels for name in CHANNEL_NAMES if name in parameters}
    named |= {name: info.num_classes for name in CLASS_NAMES if name in parameters}
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        classes = dict.fromkeys(CLASS_NAMES, info.num_classes)
        if not named.keys() & set(CHANNEL_NAMES):
            yield from ({name: info.channels, **classes, **named} for name in reversed(CHANNEL_NAMES))
        yield {**classes, **named}
    yield named


def _call(model: Imported) -> str:
    return f"{model.path}({', '.join(f'{name}={value!r}' for name, value in model.keywords)})"


def _takes(function: Callable[..., Any], error: TypeError) -> str:
    """The keywords that a function takes, where the call did not fit them."""
    if f"{getattr(function, '__name__', '')}()" not in str(error):
        return ""  # it came from further in
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ""
    wrong = str(error).partition("'")[2].partition("'")[0]
    return f"{nearest(wrong, names)} (it takes: {', '.join(names) or 'none'})"


@torch.no_grad()
def answer(net: nn.Module, model: Model, info: DataInfo) -> None:
    """Shows the net two black images of the data and looks at what comes out.

    Raises:
        UserCodeError: it cannot take them, or does not answer with N x num_classes numbers.
    """
    model = as_imported(model) if isinstance(model, NetSpec) else model
    size = (info.channels, info.height, info.width)
    shown = f"images of {'x'.join(map(str, size))} ({info.name})"
    training = net.training
    try:
        out = net.eval()(torch.zeros(2, *size))
    except Exception as error:
        raise UserCodeError(f"{_call(model)}: the net cannot take {shown}: {told(error)}") from error
    finally:
        net.train(training)
    if not isinstance(out, Tensor) or out.shape != (2, info.num_classes):
        found = f"a tensor {'x'.join(map(str, out.shape))}" if isinstance(out, Tensor) else type(out).__name__
        raise UserCodeError(
            f"{_call(model)}: the net must answer 2 {shown} with logits of 2x{info.num_classes}, one column a class; "
            f"got {found}"
        )


class _ByShape(TorchDispatchMode):
    """Every random operation starts a stream of its own, named by seed, operation, shape and its number among these.

    So a layer that one arm has and another has not moves no other layer's numbers, unless it is of the same shape.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._seed = seed
        self._met: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in func.tags:
            first = args[0] if args else ()
            name = f"{self._seed}/{func}/{tuple(first.shape) if isinstance(first, Tensor) else first}"
            self._met[name] += 1
            hashed = hashlib.sha256(f"{name}/{self._met[name]}".encode()).digest()
            torch.default_generator.manual_seed(int.from_bytes(hashed[:8], "little") >> 1)
        return func(*args, **(kwargs or {}))


@contextmanager
def drawn_by_shape(seed: int) -> Iterator[None]:
    """Random numbers of torch, numpy and Python start from ``seed``; afterwards their states are as they were.

    Torch's are drawn by shape: two nets with parameters of the same shape, initialised alike, draw the same numbers.
    """
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - as of seed_globally
    try:
        with torch.random.fork_rng(devices=[]):
            seed_globally(seed)
            with _ByShape(seed):
                yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
