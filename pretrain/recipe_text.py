"""The text of a recipe: YAML 1.2 and `section.key=value` overrides, read into plain dicts and lists.

YAML 1.2 (https://yaml.org/spec/1.2.2, section 10.3) reads `1e-3` as a number and `no` as text, where YAML 1.1 did the
opposite. Three things of YAML are refused, since what stands in a recipe should be all there is to it: a key that is
given twice, aliases and merge keys. Numbers are finite: `.inf` and `.nan` stay text.
"""

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pretrain.recipe_problems import Problem, RecipeError, did_you_mean, recipe_error

_MERGE_TAG = "tag:yaml.org,2002:merge"
_QUOTES = "Expected YAML 1.2; text with : # * & [ { or } in it needs quotes."
_ALIAS = "got an alias"
_WIDTH = 1 << 20  # characters after which ruamel would fold a line


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text says, and what in it a recipe may not have."""

    value: Any
    problems: tuple[Problem, ...]


def read_text(path: Path) -> str:
    """The text of a recipe file.

    Raises:
        RecipeError: the file is missing, a folder, unreadable or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        hint = did_you_mean(str(path), map(str, path.parent.glob("*.yaml"))) or "; give the path of a YAML file."
        raise RecipeError(f"{path} does not exist, expected a recipe{hint}") from None
    except IsADirectoryError:
        files = ", ".join(sorted(file.name for file in path.glob("*.yaml"))) or "none"
        raise RecipeError(f"{path} is a folder, expected a recipe; give a YAML file (in it: {files}).") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise RecipeError(
            f"{path} is not UTF-8 text: line {line} has the byte 0x{error.object[error.start]:02x} "
            f"at offset {error.start}, expected UTF-8; save the file in that encoding."
        ) from None
    except OSError as error:
        raise RecipeError(f"{path} cannot be read ({error.strerror}), expected a recipe; check the path.") from None


def parse(text: str, source: str) -> Parsed:
    """Read one YAML document.

    Args:
        source: what the text is called in messages, e.g. the path of its file.

    Raises:
        RecipeError: the text is not YAML, with the line where it stops being so.
    """
    reader = YAML(typ="safe", pure=True)
    reader.allow_duplicate_keys = True  # the walk below reports all of them, the reader only the first
    try:
        node = reader.compose(text)
        problems = tuple(_refused(node, "", seen=set())) if node else ()
        if any(_ALIAS in problem.text for problem in problems):  # a value of aliases may be endless
            raise recipe_error(source, problems)
        value = _finite(reader.load(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise RecipeError(f"{source} is not YAML: {where}{error.problem or error.context}. {_QUOTES}") from None
    except RecipeError:
        raise
    except (YAMLError, ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise RecipeError(f"{source} is not YAML: {reason}. {_QUOTES}") from None
    return Parsed(value, problems)


def override(recipe: dict[str, Any], assignments: Sequence[str]) -> list[Problem]:
    """Write `section.key=value` assignments into a recipe, the later over the earlier.

    A value is YAML; a mapping replaces all that stood there, so `encoder={from: runs/x/model}` is a whole new section.

    Returns:
        What is wrong with the assignments themselves; whether a recipe has such keys is not looked at here.
    """
    problems = []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            problems.append(Problem(assignment, "expected section.key=value, such as train.steps=100"))
            continue
        try:
            parsed = parse(text, assignment)
        except RecipeError as error:
            problems.append(Problem(path, str(error)))
            continue
        problems += [Problem(f"{path}.{problem.path}", problem.text) for problem in parsed.problems]
        _assign(recipe, keys, parsed.value)
    return problems


def write(recipe: Mapping[str, Any]) -> str:
    """YAML that `parse` reads back to the same, keys in the order given."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = _WIDTH
    writer.allow_unicode = True
    stream = io.StringIO()
    writer.dump(dict(recipe), stream)
    return stream.getvalue()


def _assign(recipe: dict[str, Any], keys: Sequence[str], value: object) -> None:
    *above, last = keys
    for key in above:
        if not isinstance(recipe.get(key), dict):
            recipe[key] = {}
        recipe = recipe[key]
    recipe[last] = value


def _refused(node: Node, path: str, *, seen: set[int]) -> Iterator[Problem]:
    """Duplicate keys, keys that are not text, merge keys and aliases below a node."""
    if id(node) in seen:
        yield Problem(path, f"{_ALIAS} (line {_line(node)} is used again), expected the value itself; write it out")
        return
    seen.add(id(node))
    if isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _refused(item, f"{path}[{index}]", seen=seen)
    if not isinstance(node, MappingNode):
        return
    lines: dict[str, list[int]] = {}
    for key, value in node.value:
        name = str(key.value) if isinstance(key, ScalarNode) else "?"
        inner = f"{path}.{name}" if path else name
        if key.tag == _MERGE_TAG:
            yield Problem(inner, f"got a merge key (line {_line(key)}), expected plain keys; write out what it adds")
        elif key.tag != "tag:yaml.org,2002:str":
            yield Problem(inner, f"got a key that is not text (line {_line(key)}), expected the name of a setting")
        lines.setdefault(inner, []).append(_line(key))
        yield from _refused(value, inner, seen=seen)
    for inner, places in lines.items():
        if len(places) > 1:
            where = f"lines {', '.join(map(str, places))}" if len(set(places)) > 1 else f"line {places[0]}"
            yield Problem(inner, f"got {len(places)} times ({where}), expected a key once; keep one of them")


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _finite(value: Any) -> Any:
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case dict():
            return {key: _finite(inner) for key, inner in value.items()}
        case list():
            return [_finite(inner) for inner in value]
        case _:
            return value
