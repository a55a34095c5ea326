"""Clients of other people as they are: each a small program around the real package, and what becomes of it.

A driver (tests/clients/<language>/) is started with one argument, a JSON object:

``url``      what to listen to;
``headers``  to send with every request, where the client can;
``names``    the event names to listen to, where the client has to name them (``message`` is not among them);
``lines``    whether to do what deploy/CLIENTS.md advises: the lines between ``// lines`` and ``// to here``
             (``#`` in Python) in the driver, which that page shows;
``place``    where that stream is now, as an application would render it into its page;
``seconds``  after which it may end by itself.

It prints what it hears, a JSON object a line: ``{"open": true}``, ``{"event": "message", "data": "…", "id":
"…"}`` (what has no name is a ``message``; ``id`` is null where the client gives none), ``{"error": "…"}``
where the client says that something went wrong, ``{"raised": "…"}`` where it raises, and ``{"closed":
true}`` where it says that it is over.  It ends when the client lets it; otherwise it is killed.
"""
