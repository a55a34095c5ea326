"""Flask under gunicorn, and beside it an edge that stands alone, behind one nginx: see run.py."""
