"""The backend of one process: for development, tests and apps with one worker."""

from .backend import MemoryBackend, named

__all__ = ["MemoryBackend", "named"]
