"""Fields of a recipe that another of its fields leaves without a meaning."""

from __future__ import annotations

from ablate.design.study import Recipe

# The fields that not every recipe reads: the field that decides it, and its values that do.
READ_BY: dict[str, tuple[str, tuple[str, ...]]] = {
    "momentum": ("optimizer", ("sgd", "rmsprop")),
    "rms_decay": ("optimizer", ("rmsprop",)),
    "beta1": ("optimizer", ("adam", "adamw")),
    "beta2": ("optimizer", ("adam", "adamw")),
    "step_epochs": ("schedule", ("step",)),
    "step_factor": ("schedule", ("step",)),
}


def unread(recipe: Recipe, field: str) -> str:
    """Why this recipe does not read a field: ``"does nothing with recipe.optimizer = 'adamw': ..."``; or nothing."""
    reader, values = READ_BY.get(field, ("", ()))
    if not values or getattr(recipe, reader) in values:
        return ""
    return f"does nothing with recipe.{reader} = {getattr(recipe, reader)!r}: it is read by {' and '.join(values)}"
