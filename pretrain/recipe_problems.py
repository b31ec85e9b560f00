"""What is wrong with a recipe, said so that its writer can mend it: where, what was got, what was expected.

pydantic finds the problems; this module puts its list of errors into words. What was expected is read from the JSON
schema of the settings' class, so that a new setting needs no words here.
"""

import difflib
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

Schema = dict[str, Any]

_LONGEST_VALUE = 60  # characters of a wrong value that a message shows


class RecipeError(ValueError):
    """A mistake in a recipe. The message names every problem with what was got, what was expected and what to do."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and the key where it is."""

    path: str
    """The key as in `optimizer.learning_rate` or `corpus.files[0]`."""
    text: str


def recipe_error(source: str, problems: Sequence[Problem]) -> RecipeError:
    """The error that names all problems of a recipe, one a line."""
    heading = f"{source} has {len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return RecipeError("\n".join([heading, *(f"  {problem.path}: {problem.text}" for problem in problems)]))


def got(value: object) -> str:
    """A value as it stands in YAML, and its kind where that is not plain to see: 'fast' (text)."""
    match value:
        case None:
            return "null (nothing)"
        case bool():
            return f"{str(value).lower()} (true or false)"
        case int() | float():
            return str(value)
        case str():
            return f"{_short(value)} (text)"
        case Mapping():
            return f"{_short(value)} (a mapping)"
        case list() | tuple():
            return f"{_short(value)} (a list)"
        case _:
            return f"{value} (a {type(value).__name__}; put it in quotes if it is text)"


def _short(value: object) -> str:
    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = _LONGEST_VALUE
    return shortener.repr(dict(value) if isinstance(value, Mapping) else value)


def nearest(key: str, known: Iterable[str]) -> str | None:
    """The known key that is most like this one, None if none is like it."""
    return next(iter(difflib.get_close_matches(key, sorted(known), n=1)), None)


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """The question after a wrong key, or nothing where no known key is like it."""
    found = nearest(key, known)
    return f"; did you mean {found}?" if found else ""


def unknown_key(path: str, known: Iterable[str], *, elsewhere: Mapping[str, str]) -> Problem:
    """A key that nothing reads.

    Args:
        known: the keys that stand beside it.
        elsewhere: the full path of each key of the other sections, for one that was put into the wrong section.
    """
    key = path.rpartition(".")[2]
    hint = did_you_mean(key, known)
    if not hint and elsewhere.get(key, path) != path:
        hint = f"; did you mean {elsewhere[key]}?"
    return Problem(path, f"unknown key{hint or '.'} Known: {', '.join(sorted(known))}")


def translate(
    error: ValidationError, settings: type[BaseModel], data: object, *, section: str, elsewhere: Mapping[str, str]
) -> list[Problem]:
    """The problems that pydantic found in one section, at most one for each key.

    Args:
        settings: the class that the section was checked against.
        data: the section as it was read.
        section: the key of the section; empty for the recipe itself.
    """
    schema = settings.model_json_schema()
    problems: dict[str, Problem] = {}
    mistyped: dict[str, object] = {}
    for line in error.errors(include_url=False):
        kind, keys = line["type"], _keys(line["loc"], data, last_is_key=line["type"] in ("missing", "extra_forbidden"))
        path = _path(section, keys)
        if kind == "invalid_key":  # a key that is not text; the reader of the file has reported it
            continue
        if kind == "missing":
            problems[path] = Problem(path, f"missing; expected {_expected(_schema_at(schema, keys), schema)}")
        elif kind == "extra_forbidden":
            known = _properties(_schema_at(schema, keys[:-1]), schema, tags=line["loc"])
            problems[path] = unknown_key(path, known, elsewhere=elsewhere)
        elif kind == "value_error":
            problems[path] = Problem(path, str(line["ctx"]["error"]))
        elif kind in ("union_tag_invalid", "union_tag_not_found"):
            key = line["ctx"]["discriminator"].strip("'")
            inside = f"{path}.{key}"
            value = line["input"].get(key) if isinstance(line["input"], Mapping) else None
            problems[inside] = _mistagged(inside, value, _tags(_schema_at(schema, keys), schema))
        elif kind == "exactly_one":
            path = _path(section, keys[:-1])
            problems[path] = Problem(path, line["msg"])
        else:
            mistyped[path] = line["input"]
            problems.setdefault(path, _mistyped(path, line["input"], _schema_at(schema, keys), schema))
    # Of a value that may be of two kinds, pydantic reports both; what is said about its inside is the better half.
    inner = tuple(problems)
    return [p for path, p in problems.items() if path not in mistyped or not _has_below(path, inner)]


def _mistyped(path: str, value: object, schema: Schema, root: Schema) -> Problem:
    choices = [choice for branch in _branches(schema, root) for choice in branch.get("enum", ())]
    hint = did_you_mean(value, choices) if isinstance(value, str) else ""
    return Problem(path, f"got {got(value)}, expected {_expected(schema, root)}{hint}")


def _mistagged(path: str, value: object, tags: Sequence[str]) -> Problem:
    expected = f"expected one of {', '.join(tags)}"
    if value is None:
        return Problem(path, f"missing; {expected}")
    return Problem(path, f"got {got(value)}, {expected}{did_you_mean(value, tags) if isinstance(value, str) else ''}")


def _has_below(path: str, paths: Iterable[str]) -> bool:
    return any(other.startswith((f"{path}.", f"{path}[")) for other in paths)


def _keys(location: Sequence[int | str], data: object, *, last_is_key: bool) -> tuple[int | str, ...]:
    """The keys of a pydantic location, without the labels that it puts in for the branches of a union."""
    keys: list[int | str] = []
    for place, part in enumerate(location):
        if isinstance(data, Mapping) and part in data:
            keys.append(part)
            data = data[part]
        elif isinstance(data, Sequence) and not isinstance(data, str) and isinstance(part, int):
            keys.append(part)
            data = data[part] if part < len(data) else None
        elif last_is_key and place == len(location) - 1:
            keys.append(part)
    return tuple(keys)


def _path(section: str, keys: Sequence[int | str]) -> str:
    path = section
    for key in keys:
        path += f"[{key}]" if isinstance(key, int) else f".{key}" if path else key
    return path


# What a schema expects, in words --------------------------------------------------------------------------------------


def _resolve(schema: Schema, root: Schema) -> Schema:
    return root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _branches(schema: Schema, root: Schema) -> list[Schema]:
    schema = _resolve(schema, root)
    return [_resolve(branch, root) for branch in schema.get("anyOf", [schema])]


def _tags(schema: Schema, root: Schema) -> list[str]:
    """The values of the key that tells the branches of a union apart."""
    unions = [branch["discriminator"] for branch in _branches(schema, root) if "discriminator" in branch]
    return [tag for union in unions for tag in union["mapping"]]


def _properties(schema: Schema, root: Schema, *, tags: Sequence[int | str] = ()) -> dict[str, Schema]:
    """The keys of all branches, or of those that `tags` names in a union whose branches a key tells apart."""
    properties: dict[str, Schema] = {}
    for branch in _branches(schema, root):
        tagged = {tag: {"$ref": ref} for tag, ref in branch.get("discriminator", {}).get("mapping", {}).items()}
        inner = [tagged[tag] for tag in tags if tag in tagged] or list(tagged.values()) or [branch]
        for part in inner:
            properties |= _resolve(part, root).get("properties", {})
    return properties


def _schema_at(root: Schema, keys: Sequence[int | str]) -> Schema:
    schema = root
    for key in keys:
        if isinstance(key, int):
            schema = next((branch["items"] for branch in _branches(schema, root) if "items" in branch), {})
        else:
            schema = _properties(schema, root).get(key, {})
    return schema


def _expected(schema: Schema, root: Schema) -> str:
    return " or ".join(_expected_branch(branch, root) for branch in _branches(schema, root))


def _expected_branch(schema: Schema, root: Schema) -> str:
    if "const" in schema:
        return str(schema["const"])
    if "discriminator" in schema:
        return f"a mapping with {schema['discriminator']['propertyName']}: {' | '.join(_tags(schema, root))}"
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    match schema.get("type"):
        case "integer":
            return f"a whole number{_bounds(schema)}"
        case "number":
            return f"a number{_bounds(schema)}"
        case "boolean":
            return "true or false"
        case "string":
            matching = f" that matches {schema['pattern']}" if "pattern" in schema else ""
            return f"text{matching or (' that is not empty' if schema.get('minLength') else '')}"
        case "array":
            items = f" of {_expected(schema['items'], root)}" if "items" in schema else ""
            return f"a list{items}{' that is not empty' if schema.get('minItems') else ''}"
        case "object":
            return f"a mapping with {', '.join(schema.get('required') or _properties(schema, root)) or 'keys'}"
        case "null":
            return "null"
        case _:
            return "a mapping"


def _bounds(schema: Schema) -> str:
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    bounds = [f"{sign} {_number(schema[key])}" for key, sign in signs.items() if key in schema]
    if "multipleOf" in schema:
        bounds.append(f"a multiple of {schema['multipleOf']}")
    return f" {' and '.join(bounds)}" if bounds else ""


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"
