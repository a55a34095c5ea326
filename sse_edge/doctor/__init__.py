"""``sse-edge doctor``: what is wrong with a running deployment, seen from where its clients are."""
