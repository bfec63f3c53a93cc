"""A few shapes of SVG as text: the same on every machine, and nothing to install."""

from __future__ import annotations

from html import escape
from itertools import pairwise

#: What the pictures' fonts fall back to; none is fetched.
_FONT = "Helvetica, Arial, sans-serif"
INK, GREY, PAPER = "#1f2933", "#7b8794", "#ffffff"
#: Fill and frame of what belongs together.
BLUE, GREEN, AMBER, PLAIN = (
    ("#e3eefb", "#3f73b5"),
    ("#e4f4e8", "#3d8b55"),
    ("#fdf1dc", "#b7791f"),
    ("#f3f5f7", "#7b8794"),
)


def document(width: float, height: float, title: str, parts: list[str]) -> str:
    """The whole picture, on a ground of its own so that it can be read on a dark page, too."""
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    head = 'viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="7" markerHeight="7" orient="auto"'
    begin = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{_FONT}" font-size="13">',
        f"<title>{escape(title)}</title>",
        f'<defs><marker id="head" {head}><path d="M0 0 8 4 0 8z" fill="{GREY}"/></marker></defs>',
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{PAPER}"/>',
    )
    return "\n".join((*begin, *parts, "</svg>\n"))


def box(x: float, y: float, width: float, height: float, colour: tuple[str, str], lines: list[str]) -> str:
    """A frame with lines of text in its middle; the first one is bold."""
    fill, frame = colour
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    shapes = [f'<rect {place} rx="6" fill="{fill}" stroke="{frame}"/>']
    top = y + height / 2 - 16 * (len(lines) - 1) / 2 + 4.5
    shapes += [
        text(x + width / 2, top + 16 * place, line, "middle", bold=place == 0) for place, line in enumerate(lines)
    ]
    return "\n".join(shapes)


def text(
    x: float, y: float, words: str, anchor: str = "start", bold: bool = False, colour: str = INK, size: float = 0
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    sized = f' font-size="{size:g}"' if size else ""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}"{weight}{sized}>{escape(words)}</text>'


def rectangle(x: float, y: float, width: float, height: float, fill: str, frame: str = "none") -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" fill="{fill}" stroke="{frame}"/>'


def line(x: float, y: float, to_x: float, to_y: float, colour: str = GREY) -> str:
    return f'<path d="M{x:g} {y:g} {to_x:g} {to_y:g}" fill="none" stroke="{colour}"/>'


def arrow(*points: tuple[float, float]) -> str:
    """Straight from point to point, with a head at the last one."""
    path = "M" + " ".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path d="{path}" fill="none" stroke="{GREY}" stroke-width="1.3" marker-end="url(#head)"/>'


def curve(points: list[tuple[float, float]]) -> str:
    """Down through the points, upright at each, with a head at the last one."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for (x, y), (to_x, to_y) in pairwise(points):
        bend = (to_y - y) / 2
        path += f"C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}"
    return f'<path d="{path}" fill="none" stroke="{GREY}" stroke-width="1.2" marker-end="url(#head)"/>'
