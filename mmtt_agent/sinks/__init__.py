"""Where lines go: standard output, a file that may be rotated, a Unix socket, Redis."""

from .places import open_sink
from .sink import PlaceError, Sink, SinkError, StalledError

__all__ = ["PlaceError", "Sink", "SinkError", "StalledError", "open_sink"]
