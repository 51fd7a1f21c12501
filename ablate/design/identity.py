"""What identifies a trial and a study: a hash that a later version's new fields leave as it is."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

# Hashed whatever they hold. A field that is not in this list enters the hash only where it differs from its default,
# so a new field leaves every key and every record as it was. Never add a name here, and never take one out.
PINNED: Mapping[str, tuple[str, ...]] = {
    "BlockSpec": ("residual", "bottleneck", "activation", "conv", "shortcut", "expand_ratio"),
    "StageSpec": ("block", "channels", "repeats", "stride"),
    "NetSpec": (
        "stages", "stem_channels", "stem_kernel", "stem_stride", "stem_pool", "head_channels", "activation",
        "width_mult", "divisor", "dropout", "in_channels", "num_classes",
    ),
    "Imported": ("path", "keywords", "digest"),
    "OwnTraining": ("path", "keywords", "digest", "command"),
    "Recipe": (
        "epochs", "batch_size", "optimizer", "lr", "momentum", "rms_decay", "weight_decay", "weight_decay_on",
        "schedule", "warmup_epochs", "step_epochs", "step_factor", "label_smoothing", "ema", "crop_padding", "flip",
        "precision",
    ),
    "DataSpec": ("name", "validation", "split_seed"),
    "Plan": ("seeds", "first_seed", "until", "max_seeds", "block"),
    "Decision": ("metric", "margin", "alpha", "also"),
    "CoPrimary": ("margin", "higher_is_better", "unit"),
    "Tuning": ("trials", "sampler", "seeds", "space"),
    "Range": ("low", "high", "log"),
    "Search": ("trials", "sampler", "against", "confirm", "seeds", "at_once", "pruner", "min_epochs", "reduction"),
    "Design": ("kind", "to", "order", "runs"),
    "Study": (
        "name", "title", "question", "source", "expect", "control", "arms", "factors", "data", "recipe", "plan",
        "decision", "design", "match", "unmatched", "noise_floor", "keep_weights", "budget",
    ),
}  # fmt: skip


def identity(value: Any) -> Any:
    """A spec as plain data for ``digest``: its pinned fields, and of the others those that differ from their default.

    Args:
        value: a dataclass or pydantic model listed in ``PINNED`` (or derived from one), or a container of plain values.
    """
    if isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
        pinned = next(PINNED[kind.__name__] for kind in inspect.getmro(type(value)) if kind.__name__ in PINNED)
        held = ((name, getattr(value, name), default) for name, default in _defaults(value))
        return {name: identity(one) for name, one, default in held if name in pinned or one != default}
    if isinstance(value, Mapping):
        return {name: identity(one) for name, one in value.items()}
    return [identity(one) for one in value] if isinstance(value, list | tuple) else value


def _defaults(value: Any) -> Iterator[tuple[str, Any]]:
    """Each field with its default; a marker that equals nothing where there is none."""
    if isinstance(value, BaseModel):
        for name, info in type(value).model_fields.items():
            yield name, info.get_default(call_default_factory=True, validated_data={})
    else:
        for field in (field for field in dataclasses.fields(value) if field.compare):
            factory = field.default_factory
            yield field.name, field.default if factory is dataclasses.MISSING else factory()


def digest(plain: Any) -> str:
    """16 hex digits of the sha256 of a plain value's canonical JSON."""
    return hashlib.sha256(canonical(plain).encode()).hexdigest()[:16]


def canonical(plain: Any) -> str:
    """A plain value as JSON, the same text for equal values."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False)
