"""The ``syslog`` source: messages of RFC 5424 and RFC 3164 over UDP, TCP, TLS and unix sockets.

::

    decoding   messages to records, by the engine      source     options; a LineServer does the rest
"""

from logflow.sources.syslog.source import SyslogSource

__all__ = ["SyslogSource"]
