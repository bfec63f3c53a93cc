"""The memory that a site may have of its windows: what was classified, and what the network knew of it."""

from .parts import Part, parts
from .reading import read
from .rows import Batch, RecordError, Windows
from .writer import Recorder

__all__ = ["Batch", "Part", "RecordError", "Recorder", "Windows", "parts", "read"]
