"""The ``syslog`` source: messages of RFC 5424 and RFC 3164 over UDP, TCP, TLS and unix sockets.

::

    framing    where messages end in a stream          decoding   messages to records, by the engine
    intake     datagrams that wait, connections        source     the source
"""

from logflow.sources.syslog.source import SyslogSource

__all__ = ["SyslogSource"]
