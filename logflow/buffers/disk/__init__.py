"""The disk buffer: batches wait in files, and survive ``kill -9`` and power cuts.

::

    <data_dir>/buffers/<output>/
        lock                                  held while a process uses the buffer
        reserve                               room for cuts and deliveries when the disk is full
        0000000000000001-<marker>.segment     batches, and what became of them
        0000000000000002-<marker>.segment     the highest number is the one that is written to
        0000000000000001-<marker>.keys        accepted keys of segments that are gone
        corrupt/<file>-<offset>.damaged       damaged bytes, set aside; logflow never deletes them

    put ──► writer ──► segment: [batch][batch][cut][batch] ──► receipts     one write and one sync a group
                                   │
    take ◄── cut: "chunk 7f… is every batch of tag t up to 41" ◄────────────┘
      │
    commit ──► segment: [done: batches 38 to 41 of tag t]                   a segment without a waiting
                                                                            batch is deleted, oldest first

==============  ===============================================================================
module          what it knows
==============  ===============================================================================
``records``     the format of a record
``segments``    the files of records: append a group, sync it, cut back what failed, delete
``scan``        reading a file from end to end, around damage
``mending``     setting damaged bytes aside
``recovery``    rebuilding what waits after a restart
``inspection``  the same for those who only look
``index``       what waits: rows, chunks, queues by tag; ``stock`` has the sums, ``schedule`` the order
``writer``      the group commit, and what happens while the disk takes no writes
``reading``     reading batches back
``deletion``    deleting segments; ``compaction`` empties those that a few old batches keep
``window``      the accepted keys of deleted segments
``files``       all files of one buffer, locked
``buffer``      the whole, as routers and flushers see it
==============  ===============================================================================

The way of a batch, all of it in ``buffer``: :meth:`put` admits it, gives it a number and hands it to the
writer. The writer takes what has gathered, writes (and syncs) it in one go, and says where each record
lies; the buffer settles the receipts and puts a row into the tag's queue. When the queue is due, a cut
names the rows that are a chunk; once it is stored too, the chunk is read and handed out. When it was
delivered, a record says that its rows are done. A segment whose rows are all done is deleted, oldest first.

Why nothing is lost
    A receipt is settled after the write (and sync) of its batch. A segment is deleted only when each
    of its batches is done, after the records that say so are as durable as ``sync`` promises.
Why nothing is doubled
    A chunk is handed out only after its cut is durable, so that a restart makes the same chunk with the
    same id. A batch carries its origin in the same record, so that a repeat is recognised. Segments are
    deleted oldest first: a batch is always gone before the record that says it is done.
What is kept in memory
    40 bytes for each waiting batch, up to 16 MiB of the batches that were written last, up to 32 MiB of
    those that are not written yet, and the chunks in flight.

Versions: the magic ends in the format's version; a file of a later version is refused, not touched.
Limits: a batch of 1 GiB, a description (tag, origin) of 64 KiB, 2**32 segments of up to 4 GiB.
"""

from logflow.buffers.disk.buffer import DiskBuffer
from logflow.buffers.disk.files import Storage

__all__ = ["DiskBuffer", "Storage"]
