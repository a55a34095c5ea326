"""One channel written from an iterator, from its first piece to its end."""

from .ending import Endings, end_abandoned
from .keeper import Keeper
from .pieces import Pieces
from .writer import PATIENCE, Written, give_up, write

__all__ = ["PATIENCE", "Endings", "Keeper", "Pieces", "Written", "end_abandoned", "give_up", "write"]
