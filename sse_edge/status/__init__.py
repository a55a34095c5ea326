"""An edge seen from outside: live, ready, and its figures, or those of all workers."""
