"""Coverage-guided fuzzing of what reads bytes from outside, in Python; ``native/fuzz.sh`` does the engine.

::

    python -m tools.fuzz --seconds 60 --targets otlp,journal      each in a process of its own

``targets/`` says what is fed, and what must hold: nothing but our own errors, and the same from both engines.
``seeds/TARGET/`` holds inputs that once found something, or lead far; the tests feed them again.
"""
