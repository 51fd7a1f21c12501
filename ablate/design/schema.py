"""The JSON schema of a study file, for editors: made from the model that checks it and from the fields of a net.

``python -m ablate.study --schema > studies/study.schema.json`` writes it; a test holds the two alike. It knows types,
names and ranges; what the fields say together is checked when a study is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ablate.design.arms import DATA_CHANGES
from ablate.design.imported import PATTERN
from ablate.design.study import NAME_PATTERN, OUTSIDE_THE_NET, DataSpec, Recipe, Study
from ablate.model.spec import CHANGEABLE, LEVELS
from ablate.model.zoo import NETS

_NOT_WRITTEN = ("name", "budget")  # the file's name and --budget say these
_LEVEL: dict[str, Any] = {"type": ["string", "number", "boolean"]}  # of a field of the user's own code
_OPEN = ("control", "arms", "factors", "stability", "design", "budget")  # tables that hold such fields where it trains
_VALUE = {"type": ["number", "boolean"]}  # of a field of a net without named levels
_IMPORTED = {"properties": {"net": {"type": "string", "pattern": PATTERN}}, "required": ["net"]}
_KEYWORD = r"^[A-Za-z_][A-Za-z0-9_]*$"
Schema = dict[str, Any]
Part = tuple[str, tuple[str, ...]]  # a model's name, and those of its fields that an arm can change


def study_schema() -> Schema:
    """The schema as plain data, in JSON Schema's draft 2020-12.

    >>> study_schema()["properties"]["recipe"]
    {'$ref': '#/$defs/Study/properties/recipe'}
    """
    made = Study.model_json_schema()
    definitions: Schema = made["$defs"]
    tables = {name: schema for name, schema in made["properties"].items() if name not in _NOT_WRITTEN}
    named = {"net": tuple(NETS), **LEVELS}
    fields: Schema = {name: {"enum": list(named[name])} if name in named else _VALUE for name in ("net", *CHANGEABLE)}
    parts = {"recipe": ("Recipe", tuple(Recipe.model_fields)), "data": ("DataSpec", DATA_CHANGES)}
    for name in ("net", "residual"):
        fields[name] = {"anyOf": [fields[name], {"type": "string", "pattern": PATTERN}]}
    definitions["Net"] = {"if": _IMPORTED, "then": {"additionalProperties": _LEVEL}, "else": _closed(fields)}
    definitions["Changes"] = {
        "if": _IMPORTED,
        "then": _with_keywords(_changes({}, parts), _LEVEL),
        "else": _changes(fields, parts),
    }
    definitions["Levels"] = _changes({name: _list_of(value) for name, value in fields.items()}, parts, _list_of)
    design = definitions["Design"]["properties"]
    design["to"] = {"description": design["to"]["description"], **_ref("Changes")}
    tables["control"] |= _ref("Net")
    tables["arms"] |= {"patternProperties": {NAME_PATTERN: _ref("Changes")}, "additionalProperties": False}
    tables["factors"] = {"description": tables["factors"]["description"], **_ref("Levels")}
    wider = {**parts, "data": ("DataSpec", tuple(DataSpec.model_fields))}
    definitions["Stability"] = {
        **_changes({name: _some(value) for name, value in fields.items()}, wider, _some),
        "maxProperties": 1,
    }
    tables["stability"] = {"description": tables["stability"]["description"], **_ref("Stability")}
    expectation = tables["expect"]["additionalProperties"]
    within = {"type": "object", "additionalProperties": expectation}
    tables["expect"]["properties"] = dict.fromkeys(OUTSIDE_THE_NET, within)
    own = {**tables, **_other_tables(tables, definitions["Design"], _own_tables())}
    imported = {**tables, **_other_tables(tables, definitions["Design"], _imported_tables(parts, wider))}
    definitions |= {"Study": _closed(tables), "OwnStudy": _closed(own), "ImportedStudy": _closed(imported)}
    every = {name: _ref(f"Study/properties/{name}") for name in tables}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study of ablate",
        **_closed({**every, **dict.fromkeys(_OPEN, True)}),
        "if": {"anyOf": [{"required": ["trainer"]}, {"required": ["command"]}]},
        "then": {"properties": _tables_of("OwnStudy")},
        "else": {
            "if": {"properties": {"control": _IMPORTED}, "required": ["control"]},
            "then": {"properties": _tables_of("ImportedStudy")},
            "else": {"properties": _tables_of("Study")},
        },
        "$defs": definitions,
    }


def _tables_of(study: str) -> Schema:
    """The tables of one kind of study, and its budgets, which hold the same tables."""
    budget = {
        "description": "[budget.NAME]: laid over the file by --budget NAME",
        "type": "object",
        "patternProperties": {NAME_PATTERN: _ref(study)},
        "additionalProperties": False,
    }
    return {name: _ref(f"{study}/properties/{name}") for name in _OPEN if name != "budget"} | {"budget": budget}


def _own_tables() -> dict[str, Schema]:
    """What the tables hold of training of the user's own: its fields, whatever these are called."""
    fields = {"type": "object", "additionalProperties": _LEVEL}
    return {
        "control": fields,
        "arms": fields,
        "factors": {"type": "object", "additionalProperties": _list_of(_LEVEL)},
        "stability": {"type": "object", "additionalProperties": {"type": "array", "items": _LEVEL}},
        "design": fields,
    }


def _imported_tables(parts: Mapping[str, Part], wider: Mapping[str, Part]) -> dict[str, Schema]:
    """What the tables hold where the control's net is imported: its keywords, and fields of recipe and data."""
    changes = _with_keywords(_changes({}, parts), _LEVEL)
    return {
        "arms": changes,
        "factors": _with_keywords(_changes({}, parts, _list_of), _list_of(_LEVEL)),
        "stability": {**_with_keywords(_changes({}, wider, _some), _some(_LEVEL)), "maxProperties": 1},
        "design": changes,
    }


def _other_tables(tables: Mapping[str, Schema], design: Schema, held: Mapping[str, Schema]) -> Schema:
    """The tables whose fields are named by the user's own code: ``held`` says what is in each, or in one arm."""
    made = {name: {"description": tables[name]["description"], **held[name]} for name in held if name != "design"}
    told = tables["arms"]["description"]
    by_name = {"type": "object", "patternProperties": {NAME_PATTERN: held["arms"]}, "additionalProperties": False}
    to = {"description": design["properties"]["to"]["description"], **held["design"]}
    made["arms"] = {"description": told, **by_name}
    return {**made, "design": {**design, "properties": {**design["properties"], "to": to}}}


def _with_keywords(schema: Schema, keyword: Schema) -> Schema:
    """A table that holds keywords of an imported function too, whatever these are called."""
    names = {"anyOf": [{"enum": list(schema["properties"])}, {"pattern": _KEYWORD}]}
    return {**schema, "propertyNames": names, "additionalProperties": keyword}


def _changes(fields: Schema, parts: Mapping[str, Part], change: Callable[[Schema], Schema] = dict) -> Schema:
    """What can be written of a change: fields of the net, and of recipe and data as tables or in quotes."""
    named = {
        table: {name: change(_ref(f"{model}/properties/{name}")) for name in names}
        for table, (model, names) in parts.items()
    }
    quoted = {f"{table}.{name}": schema for table, inner in named.items() for name, schema in inner.items()}
    return _closed({**fields, **{table: _closed(inner) for table, inner in named.items()}, **quoted})


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _list_of(level: Schema) -> Schema:
    """A factor: its levels, or, in a search, a range of numbers."""
    levels = {"type": "array", "items": level, "minItems": 2, "uniqueItems": True}
    return levels if {"enum", "anyOf"} & level.keys() else {"anyOf": [levels, _ref("Span")]}


def _some(level: Schema) -> Schema:
    return {"type": "array", "items": level, "minItems": 1, "uniqueItems": True}
