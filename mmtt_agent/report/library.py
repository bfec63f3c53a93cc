"""The charts' JavaScript (Vega, Vega-Lite and Vega-Embed), from the package that carries it."""

from __future__ import annotations

import importlib.util


class LibraryError(Exception):
    """It is not there; one line with the remedy."""


def check() -> None:
    """Say what is missing before anything is read.

    Raises:
        LibraryError: it is not there.
    """
    if importlib.util.find_spec("vl_convert") is None:
        raise LibraryError(
            "the charts of a report need vl-convert-python, which is not installed; type: pip install 'mmtt[report]'"
        )


def javascript() -> str:
    """A script that defines ``vegaEmbed`` and needs nothing else.

    Raises:
        LibraryError: it is not there, or makes none.
    """
    check()
    try:
        import vl_convert

        return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise LibraryError(
            f"vl-convert-python can't give the charts' library ({what}); type: pip install --upgrade 'mmtt[report]'"
        ) from None
