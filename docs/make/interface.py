"""The reference of the public Python interface: which names it is, their signatures and what their docstrings say."""

from __future__ import annotations

import ast
import re
from functools import cache
from typing import TypeAlias

from pages import ROOT

#: The promise: module -> its public names, a class with those of its methods that are public, too.
PUBLIC = {
    "mmtt_agent.capture": (
        "read_capture", "Capture", "Windows", "Connections", "Connections.uid", "Connections.addresses", "CaptureError",
    ),
    "mmtt_agent.series": (
        "MIN_PACKETS", "SeriesBatch", "SeriesBatch.from_lists", "SeriesBatch.concatenate", "SeriesBatch.first",
        "SeriesBatch.__getitem__",
    ),
    "mmtt_agent.bundle": ("load", "Bundle", "Bundle.model", "BundleError"),
    "mmtt_agent.classifier": ("Classifier", "Classifier.classify", "Verdicts"),
    "mmtt_agent.incidents": (
        "Tracker", "Tracker.flows", "Tracker.tries", "Tracker.advance", "Tracker.end", "Settings", "Flows", "Try",
        "Incident", "IncidentModel",
    ),
    "mmtt_model.data.sources": ("read_manifest", "Source", "Source.digest", "Source.entries", "Source.labels", "Entry"),
    "mmtt_model.data.labels": ("Labels",),
    "mmtt_model.data.taxonomy": ("Taxonomy",),
    "mmtt_model.data.build": ("build",),
    "mmtt_model.data.errors": ("DatasetError",),
    "mmtt_model.config": ("read", "shipped", "Config", "Evaluation", "ConfigError"),
    "mmtt_model.run": ("run",),
}  # fmt: skip

_Definition: TypeAlias = ast.FunctionDef | ast.ClassDef
_SECTION = re.compile(r"^(Args|Attributes|Returns|Raises):\s*$")
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


def text(package: str) -> str:
    """The reference of the names in ``package``."""
    parts = []
    for module, names in PUBLIC.items():
        if module.startswith(package):
            parts.append(f"### {module}")
            for name in names:
                code, prose = _constant(module, name) or _defined(module, name)
                parts.append(f"#### {_words(name)}" if "." not in name else f"##### {_words(name)}")
                parts += [f"```python\n{code}\n```", _prose(prose)]
    return "\n\n".join(part for part in parts if part)


def _words(name: str) -> str:
    return name.replace("__", r"\_\_")


@cache
def _text(module: str) -> str:
    root, *rest = module.split(".")
    path = ROOT.joinpath({"mmtt_model": "model"}.get(root, root), *rest)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_text(module))


def _constant(module: str, name: str) -> tuple[str, str] | None:
    """Its line and the comment (``#:``) above it, of a constant of the module; None if it is something else."""
    found = re.search(rf"((?:^#: .*\n)+)^({re.escape(name)} = .+)$", _text(module), re.MULTILINE)
    return (found[2], re.sub(r"^#: ", "", found[1], flags=re.MULTILINE).strip()) if found else None


def _defined(module: str, name: str) -> tuple[str, str]:
    """The signature and the docstring of a function or a class."""
    node = _found(module, name)
    return _signature(name, node), ast.get_docstring(node) or ""


def _found(module: str, name: str) -> _Definition:
    """The definition that the name stands for, followed through the module's own imports."""
    body = _tree(module).body
    first, _, rest = name.partition(".")
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == first:
            return _member(module, node, rest) if rest else node
        if isinstance(node, ast.ImportFrom) and any((each.asname or each.name) == first for each in node.names):
            return _found(f"{module}.{node.module}" if node.level == 1 else str(node.module), name)
    raise LookupError(f"{module} has no {name}")


def _member(module: str, owner: _Definition, name: str) -> _Definition:
    for node in owner.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return node
    raise LookupError(f"{module}.{owner.name} has no {name}")


def _signature(name: str, node: _Definition) -> str:
    if isinstance(node, ast.ClassDef):
        return _of_class(node)
    decorators = {ast.unparse(each) for each in node.decorator_list}
    head = "".join(f"@{each}\n" for each in sorted(decorators & {"classmethod", "property"}))
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    arguments = _arguments(node.args)
    line = f"{name}({', '.join(arguments)}){returns}"
    if "property" in decorators:
        line = f"{name}{returns.replace(' ->', ':')}"
    elif len(line) > 100:
        line = "\n".join((f"{name}(", *(f"    {argument}," for argument in arguments), f"){returns}"))
    return head + line


def _arguments(arguments: ast.arguments) -> list[str]:
    """Each as it is declared, without the first one of a method."""
    positional = [*arguments.posonlyargs, *arguments.args]
    without = len(positional) - len(arguments.defaults)
    shown = [
        _argument(each, arguments.defaults[place - without] if place >= without else None)
        for place, each in enumerate(positional)
        if each.arg not in ("self", "cls")
    ]
    if arguments.kwonlyargs:
        shown.append("*")
    shown += [_argument(*each) for each in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return shown


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    return f"{argument.arg}{kind}" + (f" = {ast.unparse(default)}" if default else "")


def _of_class(node: ast.ClassDef) -> str:
    """How one is made: by what its __init__ takes, or by its fields."""
    bases = {ast.unparse(base) for base in node.bases}
    made = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    if made:
        return f"class {node.name}({', '.join(_arguments(made.args))})"
    if "Exception" in bases or any(base.endswith("Error") for base in bases):
        return f"class {node.name}({', '.join(sorted(bases))})"
    fields = [
        f"    {each.target.id}: {ast.unparse(each.annotation)}{_default(each.value)}"
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    ]
    return "\n".join((f"class {node.name}:", *fields))


def _default(value: ast.expr | None) -> str:
    if value is None:
        return ""
    shown = ast.unparse(value)
    if factory := re.search(r"default_factory=([\w.]+)", shown):
        return f" = {factory[1]}()"
    return "" if shown.startswith("field(") else f" = {shown}"


def _prose(docstring: str) -> str:
    """A docstring's sections as paragraphs and lists."""
    lines: list[str] = []
    inside = ""
    for line in docstring.splitlines():
        if found := _SECTION.match(line):
            inside = found[1]
            lines += ["", f"*{inside}*", ""]
        elif not inside or not line.strip():
            lines.append(line)
        elif inside == "Returns":
            lines.append(line.strip())
        elif entry := re.match(r"    (\S[^:]*): (.*)", line):
            names = ", ".join(f"`{each.strip()}`" for each in entry[1].split(","))
            lines.append(f"- {names}: {entry[2]}")
        else:
            lines.append("  " + line.strip())
    return _ROLE.sub(r"`\1`", "\n".join(lines).strip()).replace("``", "`")
