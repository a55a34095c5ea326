"""One channel written from an iterator, from its first piece to its end."""

from .keeper import Keeper
from .writer import PATIENCE, Endings, Pieces, Written, end_abandoned, write

__all__ = ["PATIENCE", "Endings", "Keeper", "Pieces", "Written", "end_abandoned", "write"]
