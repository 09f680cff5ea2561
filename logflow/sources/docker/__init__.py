"""The ``docker`` source: logs of containers, from the Engine API over its unix socket.

::

    api       requests, and the stream of events         frames    what a log stream is made of
    follower  the log of one container, and its place    source    which containers are followed

Where the json-files can be read, ``tail`` is the better way: this one is for hosts where they cannot, and for
drivers that keep no files. The logs of a container that is gone are gone.
"""

from logflow.sources.docker.source import DockerSource

__all__ = ["DockerSource"]
