"""Arms: what each one trains, and the arms that ``[arms]`` makes of the control, before any width is matched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pydantic import ValidationError

from ablate.design.imported import Imported, Model, changes_between, imported, is_path, lacking
from ablate.design.own_block import moved, residual_of, unread_by_block
from ablate.design.own_training import own_training_of
from ablate.design.study import OUTSIDE_THE_NET, DataSpec, Level, Matched, Recipe, Study
from ablate.design.unread import unread
from ablate.design.validation import FieldError, FieldsError, field_errors
from ablate.errors import SpecConflictError, SpecError, nearest, one_of
from ablate.model.spec import BLOCK_FIELDS, CHANGEABLE, Change
from ablate.model.zoo import NETS

CONTROL = "control"
NOISE_FLOOR = "noise_floor"
WIDTH_MULT = "width_mult"
MAX_ARMS = 256
DATA_CHANGES = ("fraction", "label_noise")  # the fields of [data] that leave validation and test images as they are
OWN_NET = "an import path such as torchvision.models:resnet18"
_OUTSIDE = tuple(f"recipe.{name}" for name in Recipe.model_fields) + tuple(f"data.{name}" for name in DATA_CHANGES)
Part = TypeVar("Part", Recipe, DataSpec)


@dataclass(frozen=True, kw_only=True)
class Match:
    """What came of matching one arm.

    Attributes:
        quantity: macs, params, train_flops or peak_memory (bytes of a training step).
        width_mult: the value solved for; the arm's own where nothing had to move.
        target, reached: the control's cost and the arm's at that width.
        identity: the arm cost the same beforehand, so its width was left alone.
        field: what was solved: ``width_mult``, or a keyword of an imported net.
    """

    quantity: Matched
    width_mult: float
    target: float
    reached: float
    identity: bool = False
    field: str = WIDTH_MULT

    @property
    def remainder(self) -> float:
        """How far from the target, relative to it: 0.004 is 0.4 % above."""
        return self.reached / self.target - 1

    def __str__(self) -> str:
        if self.identity:
            return f"{self.quantity} equal to the control's as it stands"
        return f"{self.quantity} matched at {self.field} {self.width_mult:g}, remainder {self.remainder:+.2%}"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What an arm trains: a net, by a recipe, on data."""

    spec: Model
    recipe: Recipe
    data: DataSpec


@dataclass(frozen=True, kw_only=True)
class Arm(Setup):
    """A setup reached from the control's by a named set of changes.

    Attributes:
        changes: against the control: ``conv``, ``recipe.lr``, ``data.fraction``.
        factors: its level of each factor, in a factorial or fractional study (the control's too).
            Of an arm that also runs at equal cost only that one has them, so that each combination stands once.
        parent: the arm that it is one step away from: the step before it in an ``add_one_in`` design, else the
            control.
        match: how its width was solved, where the study asks for equal cost; such an arm is called ``NAME@macs``
            if its width had to move, and NAME if it cost the same anyway.
        setting: the best one of its tuning, which its recipe then has; None where nothing is tuned, or not yet.
        settings: where each seed has a tuning of its own, the best setting of each; the recipe is then as written.
    """

    name: str
    changes: tuple[Change, ...] = ()
    factors: dict[str, Level] = field(default_factory=dict, hash=False)
    parent: str = CONTROL
    match: Match | None = None
    setting: dict[str, float] | None = field(default=None, hash=False)
    settings: tuple[dict[str, float], ...] = field(default=(), hash=False)

    @property
    def setup(self) -> Setup:
        """Net, recipe and data alone: arms with equal ones are the same."""
        return Setup(spec=self.spec, recipe=self.recipe, data=self.data)


def new_arm(name: str, setup: Setup, changes: Iterable[Change] = ()) -> Arm:
    """An arm that trains ``setup``."""
    return Arm(name=name, spec=setup.spec, recipe=setup.recipe, data=setup.data, changes=tuple(changes))


@dataclass(frozen=True)
class Images:
    """What the data decide of a net."""

    channels: int
    num_classes: int


def control_of(study: Study, images: Images) -> Setup:
    """What the control of a study trains.

    Raises:
        FieldsError: every field of ``[control]`` that is unknown or holds a value that is not allowed.
    """
    spec = own_training_of(study) if study.own_training else named_net(study.control, images, "control")
    if not study.own_training and (errors := lacking_errors(spec, "control")):
        raise FieldsError(errors)
    return Setup(spec=spec, recipe=study.recipe, data=study.data)


def named_net(fields: Mapping[str, Level], images: Images, key: str) -> Model:
    """The net ``fields["net"]``, of the zoo or at an import path, with the other fields of it moved.

    Raises:
        FieldsError: every field that is unknown or holds a value that is not allowed, under ``key``.
    """
    name = fields.get("net")
    if is_path(name):
        return _imported_net(fields, key)
    errors = []
    if name is None:
        errors.append(FieldError(f"{key}.net", f"is missing: name a net, one of {', '.join(NETS)}, {OWN_NET}"))
    elif error := no_net(name):
        errors.append(FieldError(f"{key}.net", error))
    net = NETS[str(name)] if name in NETS else next(iter(NETS.values()))
    spec = net(in_channels=images.channels, num_classes=images.num_classes)
    others = {name: value for name, value in fields.items() if name != "net"}
    errors += bad_fields(spec, others, key)
    if errors:
        raise FieldsError(errors)
    return moved(spec, others)


def no_net(name: object) -> str:
    """Why ``name`` names no net; empty where it does. The code behind an import path is read, not imported."""
    if not is_path(name):
        return "" if name in NETS else one_of(name, [*NETS, OWN_NET])
    try:
        imported(str(name))
    except SpecError as error:
        return error.message
    return ""


def _imported_net(fields: Mapping[str, Level], key: str) -> Imported:
    if error := no_net(fields["net"]):
        raise FieldsError([FieldError(f"{key}.net", error)])
    net = imported(str(fields["net"]))
    keywords = {name: value for name, value in fields.items() if name != "net"}
    if errors := bad_fields(net, keywords, key):
        raise FieldsError(errors)
    return net.with_changes(keywords)


def bad_fields(spec: Model, changes: Mapping[str, Level], key: str) -> list[FieldError]:
    """A FieldError for each field of the net that cannot be moved so, or for those that cannot be moved together."""
    try:
        moved(spec, changes)
        return []
    except SpecError as error:
        together = error
    errors = []
    for name, value in changes.items():
        try:
            moved(spec, {name: value})
        except SpecConflictError:
            continue  # with the other changes it may have a meaning
        except SpecError as error:
            known = isinstance(spec, Imported) or name in CHANGEABLE
            message = error.message if known else not_a_field(name)
            errors.append(FieldError(f"{key}.{name}", message))
    if errors:
        return errors
    if together.field in changes:
        return [FieldError(f"{key}.{together.field}", together.message)]
    return [FieldError(f"{key}.{', '.join(changes)}", f"does not go with the rest of the net: {together}")]


def not_a_field(name: str) -> str:
    """The message for an unknown field of a net."""
    allowed = ("net", *CHANGEABLE)
    homes = [key for key in _OUTSIDE if key.split(".")[-1] == name]
    called = nearest(name, (*allowed, *_OUTSIDE), cutoff=1)
    meant = f"; did you mean {homes[0]!r}?" if homes else called or nearest(name, allowed)
    return f"is not a field of a net{meant} (allowed: {', '.join(allowed)})"


def outside(name: str) -> tuple[str, str]:
    """Table and field of a change outside the net, ``("recipe", "lr")``; two empty texts for a field of the net."""
    table, dot, of_table = name.partition(".")
    return (table, of_table) if dot and table in OUTSIDE_THE_NET else ("", "")


def changed(study: Study, changes: Mapping[str, Level], images: Images, key: str) -> Setup:
    """The control with ``changes``; where they name another net of the zoo, the control's other fields hold for it too.

    A net at another import path starts from that function's own defaults.

    Raises:
        FieldsError: every change that is unknown, not allowed or not read, under ``key``.
    """
    if study.own_training:
        return _changed_training(study, changes, images, key)
    fields = {name: value for name, value in changes.items() if name != "net" and not outside(name)[0]}
    start = _start(study, changes.get("net"), images)
    errors = bad_fields(start, fields, key)
    if "net" in changes and (error := no_net(changes["net"])):
        errors.append(FieldError(f"{key}.net", error))
    recipe, data, more = moved_outside(study.recipe, study.data, changes, key)
    errors += more
    if errors:
        raise FieldsError(errors)
    spec = moved(start, fields)
    if errors := lacking_errors(spec, key) + unread_errors(spec, fields, key):
        raise FieldsError(errors)
    return Setup(spec=spec, recipe=recipe, data=data)


def lacking_errors(spec: Model, key: str) -> list[FieldError]:
    """A FieldError for each keyword without which an imported net cannot be made."""
    path = spec.path if isinstance(spec, Imported) else ""
    return [FieldError(f"{key}.{name}", f"is missing: {path} cannot be called without it") for name in lacking(spec)]


def unread_errors(spec: Model, fields: Iterable[str], key: str) -> list[FieldError]:
    """A FieldError for each field that a net's own block does not read."""
    messages = {name: unread_by_block(residual_of(spec), name) for name in fields}
    return [FieldError(f"{key}.{name}", message) for name, message in messages.items() if message]


def _changed_training(study: Study, changes: Mapping[str, Level], images: Images, key: str) -> Setup:
    control = control_of(study, images)
    if errors := bad_fields(control.spec, changes, key):
        raise FieldsError(errors)
    return replace(control, spec=control.spec.with_changes(dict(changes)))


def _start(study: Study, net: Level | None, images: Images) -> Model:
    """The net that an arm's other changes are made to; the control's where it names none that there is."""
    own = study.control["net"]
    if net is None or net == own or no_net(net):
        return named_net(study.control, images, "control")
    kept = {} if is_path(net) or is_path(own) else study.control
    return named_net({**kept, "net": net}, images, "control")


def moved_outside(
    recipe: Recipe, data: DataSpec, changes: Mapping[str, Level], key: str, *, read: bool = True
) -> tuple[Recipe, DataSpec, list[FieldError]]:
    """Recipe and data with the changes that have dotted names, and what is wrong with these.

    ``read``: whether it is wrong that the recipe does not read a field.
    """
    wanted: dict[str, dict[str, Level]] = {table: {} for table in OUTSIDE_THE_NET}
    errors = []
    for name, value in changes.items():
        table, of_table = outside(name)
        if table == "data" and of_table not in DATA_CHANGES and of_table in DataSpec.model_fields:
            allowed = ", ".join(f"data.{name}" for name in DATA_CHANGES)
            errors.append(FieldError(f"{key}.{name}", f"must be the same for every arm (an arm can change {allowed})"))
        elif table:
            wanted[table][of_table] = value
    recipe, wrong = _moved(recipe, "recipe", wanted["recipe"], key)
    data, also_wrong = _moved(data, "data", wanted["data"], key)
    if read and not wrong:
        messages = {name: unread(recipe, name) for name in wanted["recipe"]}
        wrong = [FieldError(f"{key}.recipe.{name}", message) for name, message in messages.items() if message]
    return recipe, data, errors + wrong + also_wrong


def _moved(part: Part, table: str, values: Mapping[str, Level], key: str) -> tuple[Part, list[FieldError]]:
    try:
        return (type(part).model_validate({**part.model_dump(), **values}) if values else part), []
    except ValidationError as error:
        found = field_errors(error, (table,))
        return part, [FieldError(f"{key}.{one.key}", one.message) for one in found]


def one_change(study: Study, control: Setup, images: Images) -> list[Arm]:
    """An arm for each entry of ``[arms]``.

    Raises:
        FieldsError: a change that is not allowed, an arm that changes nothing, two that are the same, a reserved name.
    """
    arms, errors = [], []
    for name, changes in study.arms.items():
        key = f"arms.{name}"
        if name in (CONTROL, NOISE_FLOOR):
            errors.append(FieldError(key, f"may not be called {name!r}: the harness gives that name itself"))
        try:
            setup = changed(study, changes, images, key)
        except FieldsError as error:
            errors += error.errors
            continue
        if setup == control:
            errors.append(FieldError(key, f"changes nothing: {_written(changes)} is what the control has"))
        else:
            arms.append(new_arm(name, setup, told_changes(study, changes, control, setup)))
    errors += _twins(arms)
    if len(study.arms) > MAX_ARMS:
        errors.append(FieldError("arms", f"must be at most {MAX_ARMS}, got {len(study.arms)}"))
    if errors:
        raise FieldsError(errors)
    return arms


def told_changes(study: Study, changes: Mapping[str, Level], control: Setup, setup: Setup) -> tuple[Change, ...]:
    """What differs from the control; of an arm that names another net, its fields of the net as they were written."""
    within = changes_between(control.spec, setup.spec)
    own = study.control.get("net")
    if not study.own_training and changes.get("net", own) != own:
        within = tuple(
            Change(name, _written_or_held(study, control, name), value)
            for name, value in changes.items()
            if not outside(name)[0]
        )
    return (*within, *changes_outside(control, setup))


def _written_or_held(study: Study, control: Setup, name: str) -> Level:
    """What the control's net has of a field; "" where that is not one value."""
    unknown = isinstance(control.spec, Imported) or name in BLOCK_FIELDS
    return study.control.get(name, "" if unknown else getattr(control.spec, name, ""))


def changes_outside(before: Setup, after: Setup) -> tuple[Change, ...]:
    """In which fields of recipe and data two setups differ."""
    pairs = {"recipe": (before.recipe, after.recipe), "data": (before.data, after.data)}
    return tuple(
        Change(f"{table}.{name}", getattr(old, name), getattr(new, name))
        for table, (old, new) in pairs.items()
        for name in type(old).model_fields
        if getattr(old, name) != getattr(new, name)
    )


def _written(changes: Mapping[str, Level]) -> str:
    return ", ".join(f"{name} = {value!r}" for name, value in changes.items()) or "an empty table"


def _twins(arms: Iterable[Arm]) -> list[FieldError]:
    first: dict[Setup, str] = {}
    errors = []
    for arm in arms:
        twin = first.setdefault(arm.setup, arm.name)
        if twin != arm.name:
            errors.append(FieldError(f"arms.{arm.name}", f"is the same as arms.{twin}"))
    return errors
