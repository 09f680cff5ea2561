"""The torture: prove by killing that nothing is lost and nothing is doubled.

``python -m tools.torture --help``::

    writer ─► files ─► agent ─► proxy 0 ─► aggregator 0 ─► files, HTTP ─┐
    (rotates)              └──► proxy 1 ─► aggregator 1 ─► files, HTTP ─┴─► 2 sinks

While numbered lines flow, a seeded sequence of faults (:mod:`.faults`) strikes: processes are killed with
SIGKILL or freeze, connections are cut in the middle of frames, acks are lost after the aggregator sent them,
disks fill up, the log directory is away at a restart, and the agent is killed within milliseconds of a new
file's first line. Then everything is let drain, and the oracle compares what was written with what lies in
the files (every line once) and at the sinks (every line once, after repeats of an ``Idempotency-Key``
are left out). The seed of a failed run repeats its faults.
"""
