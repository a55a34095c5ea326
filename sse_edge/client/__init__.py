"""The page's half: ``sse-edge.js``, a module for browsers, its types, and serving it."""
