"""Read capture files into the series that Zeek's package would have collected."""

from .connections import Connections
from .directory import SUFFIXES
from .reader import Capture, Windows, read_capture
from .records import CaptureError

__all__ = ["SUFFIXES", "Capture", "CaptureError", "Connections", "Windows", "read_capture"]
