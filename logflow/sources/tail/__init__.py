"""The ``tail`` source.

::

    source     TailSource: tasks, and who is told what
    catalogue  every file by path and inode; taking up, restoring
    saved      states as they were saved    descriptors how many files are open
    findings   what is said of a search
    lane       the files of one path, one after another: hand-over, end, truncation
    file       one incarnation of a file: reading blocks, receipts, position
    content    plain and compressed bytes   identity   what a file is known by
    rotated    finding files after rotation listing    names of rotated files, and their order
    copies     what copytruncate leaves     discovery  globs
    watcher    inotify and whom to tell     tags, formats, config, shared
"""

from logflow.sources.tail.source import TailSource

__all__ = ["TailSource"]
