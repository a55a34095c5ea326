"""A cluster of workers as a terminal shows it: reports in, lines out."""
