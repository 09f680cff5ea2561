"""The attack: hostile input against a real aggregator, with sane clients beside it.

``python -m tools.attack --help``::

    attacks (seeded, at random) ──┐
    sane Forward client ──────────┼──► aggregator, its memory limited ──► files
    health checks ────────────────┘

An attack is an async function of a :class:`.target.Target` and a random generator, which plays for a few
seconds; :data:`.forward.ATTACKS` and :data:`.http.ATTACKS` list them by name. At the end:

========  ===============================================================================================
sane      every line of theirs is in the files once, and 99 of 100 chunks were acknowledged within 2 s
memory    the process stayed under its bound
health    ``/healthz`` answered within a second, always
stop      SIGTERM was obeyed within ``shutdown_timeout`` and two seconds
log       it is smaller than a megabyte
========  ===============================================================================================
"""
