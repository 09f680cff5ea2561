"""Tries a configuration without opening anything: for ``logflow test`` and ``logflow explain``.

::

    bytes as a source would read them ─ Source.preview ─┐
                                                        ├─▶ Router: routes, filters ─▶ what outputs would get
    records under a tag ────────────────────────────────┘

Everything but the ends is real: the pipeline is the one that ``logflow run`` would build. Its clock stands
still at a time that the test chooses, outputs are never opened, and buffers only remember what comes.
"""
