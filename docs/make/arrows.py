"""The packages and the arrows between them, from the imports that are in the code: a picture, and tables of all."""

from __future__ import annotations

import ast
from functools import cache, partial
from itertools import pairwise

import svg
from pages import ROOT, cell

#: Import name -> its directory, and what the picture paints it with.
_ROOTS = {"mmtt_model": ("model", svg.AMBER), "mmtt_agent": ("mmtt_agent", svg.BLUE)}
#: model/bundle/ is a package of its own, mmtt_bundle, which holds no code.
_DATA = ("mmtt_model.bundle",)
_WIDTH, _HEIGHT, _DOWN = 104, 38, 76
_PAGE = 1000


@cache
def imports() -> dict[str, frozenset[str]]:
    """Each package or module right below the roots -> the others of them that something in it imports."""
    import grimp

    graph = grimp.build_graph(*_ROOTS, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        if (here := _place(module)) is None:
            continue
        there = {_place(each) for each in graph.find_modules_directly_imported_by(module)}
        found.setdefault(here, set()).update(place for place in there if place not in (None, here))
    return {name: frozenset(found[name]) for name in sorted(found)}


def tables() -> str:
    return "\n\n".join(f"### {root}\n\n{_table(root)}" for root in _ROOTS)


def picture() -> str:
    """Layers, each importing from lower ones; an arrow that others make up for is left out, and so is what has none."""
    joined = {name for name, others in imports().items() for name in ((name, *others) if others else ())}
    arrows = _needed({name: others for name, others in imports().items() if name in joined})
    level = _levels(arrows)
    rows, chains = _laid_out(arrows, level)
    place = _places(rows)
    top = max(level.values())
    parts = []
    for (upper, lower), through in sorted(chains.items()):
        begin = (place[upper], _y(level[upper], top) + _HEIGHT)
        end = (place[lower], _y(level[lower], top) - 1)
        middle = [
            (place[each], _y(level[upper] - 1 - step, top) + at)
            for step, each in enumerate(through)
            for at in (0, _HEIGHT)
        ]
        parts.append(svg.curve([begin, *middle, end]))
    for name, depth in sorted(level.items()):
        root, _, rest = name.partition(".")
        parts.append(svg.box(place[name] - _WIDTH / 2, _y(depth, top), _WIDTH, _HEIGHT, _ROOTS[root][1], [f"{rest}"]))
    for number, (root, (directory, colour)) in enumerate(_ROOTS.items()):
        parts.append(svg.box(16 + 200 * number, 14, 24, 16, colour, [""]))
        parts.append(svg.text(48 + 200 * number, 27, f"{root} ({directory}/)"))
    parts.append(svg.text(_PAGE - 16, 27, "an arrow: imports", "end", colour=svg.GREY))
    height = _y(0, top) + _HEIGHT + 20
    return svg.document(_PAGE, height, "The packages of mmtt and which imports which", parts)


def _place(module: str) -> str | None:
    """The part that a module belongs to; None for the roots themselves, which are a docstring and a version."""
    parts = module.split(".")
    name = ".".join(parts[:2])
    return name if len(parts) > 1 and parts[0] in _ROOTS and name not in _DATA else None


def _table(root: str) -> str:
    rows = ["| | | imports |", "|---|---|---|"]
    for name, others in imports().items():
        if name.split(".")[0] == root:
            # Of its own root without the root's name.
            named = sorted(other.removeprefix(f"{root}.") for other in others)
            listed = ", ".join(f"`{other}`" for other in named) or "nothing"
            rows.append(f"| `{name.partition('.')[2]}` | {cell(_about(name))} | {listed} |")
    return "\n".join(rows)


def _about(name: str) -> str:
    """The first sentence of its docstring."""
    root, _, rest = name.partition(".")
    path = ROOT / _ROOTS[root][0] / rest
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("``", "`")


def _needed(arrows: dict[str, frozenset[str]]) -> dict[str, set[str]]:
    """Without those that lead where a longer way leads, too."""

    def reached(name: str) -> set[str]:
        return set().union(*({other} | reached(other) for other in arrows[name]), set())

    return {
        name: {other for other in others if not any(other in reached(way) for way in others if way != other)}
        for name, others in arrows.items()
    }


def _levels(arrows: dict[str, set[str]]) -> dict[str, int]:
    """0 for what imports nothing; one more than the highest that it imports for all others."""
    level: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in level:
            level[name] = 1 + max((of(other) for other in arrows[name]), default=-1)
        return level[name]

    for name in arrows:
        of(name)
    return level


def _laid_out(
    arrows: dict[str, set[str]], level: dict[str, int]
) -> tuple[list[list[str]], dict[tuple[str, str], list[str]]]:
    """Names in each level from left to right, and for each arrow the places that it passes through on its way."""
    rows: list[list[str]] = [[] for _ in range(max(level.values()) + 1)]
    for name, depth in level.items():
        rows[depth].append(name)
    chains = {}
    down: dict[str, list[str]] = {}
    for upper, others in sorted(arrows.items()):
        for lower in sorted(others):
            through = [f"{upper} > {lower} {depth}" for depth in range(level[upper] - 1, level[lower], -1)]
            chains[upper, lower] = through
            for depth, each in zip(range(level[upper] - 1, level[lower], -1), through, strict=True):
                rows[depth].append(each)
            for here, there in pairwise((upper, *through, lower)):
                down.setdefault(here, []).append(there)
    up: dict[str, list[str]] = {}
    for here, below in down.items():
        for each in below:
            up.setdefault(each, []).append(here)
    for row in rows:
        row.sort()
    # Everything as near as can be to the middle of what it is joined to, again and again.
    for turn in range(24):
        order = range(len(rows)) if turn % 2 else range(len(rows) - 1, -1, -1)
        for depth in order:
            at = {name: (place + 0.5) / len(row) for row in rows for place, name in enumerate(row)}
            rows[depth].sort(key=partial(_middle, at=at, near=down if turn % 2 else up))
    return rows, chains


def _middle(name: str, at: dict[str, float], near: dict[str, list[str]]) -> float:
    """Where what it is joined to is, on the whole; where it is itself if that is nothing."""
    others = near.get(name, ())
    return sum(at[other] for other in others) / len(others) if others else at[name]


def _places(rows: list[list[str]]) -> dict[str, float]:
    """x of each; what only passes through takes little room."""
    place = {}
    for row in rows:
        widths = [14 if ">" in name else _WIDTH for name in row]
        gap = (_PAGE - sum(widths)) / (len(row) + 1)
        x = gap
        for name, width in zip(row, widths, strict=True):
            place[name] = x + width / 2
            x += width + gap
    return place


def _y(depth: int, top: int) -> float:
    return 50 + (top - depth) * _DOWN
