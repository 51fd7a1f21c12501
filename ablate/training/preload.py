"""Imported by the server that workers are forked from: pays once for what torch loads only at first use.

Building a net on the meta device imports sympy, and making an optimiser imports torch's compiler: seconds that
every worker would spend anew. Nothing here starts a thread or touches a GPU, since neither survives a fork.
"""

from __future__ import annotations

import atexit
import contextlib
import gc

import ablate.training.fit  # noqa: F401
from ablate.design.study import Recipe
from ablate.errors import AblateError
from ablate.model.compiled import library
from ablate.model.nets import build
from ablate.model.spec import NetSpec, StageSpec
from ablate.training.optim import make_average, make_optimizer
from ablate.training.processor import keep_memory
from ablate.training.streams import generator

_net = build(
    NetSpec(stages=(StageSpec(channels=8),), stem_channels=8, head_channels=8), generator=generator(0, "weights")
)
make_optimizer(_net, Recipe())
make_average(_net, Recipe(ema=0.9))
with contextlib.suppress(AblateError):  # a wrong $ABLATE_KERNELS is told by whoever starts a campaign
    library()  # loaded; they prove themselves in each worker, since a backward pass here would start autograd's threads
keep_memory()  # the workers inherit it
gc.collect()
gc.freeze()  # their garbage collections need not look through, and thereby copy, what they share with the server
atexit.register(gc.unfreeze)  # or triton, which torch's compiler imports, complains of leaks when the server ends
