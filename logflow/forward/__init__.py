"""The Forward Protocol (v1): sans-I/O parts first, then connections on top of them.

::

    frames  handshake  identity  intake  reader      bytes in, bytes or values out; no I/O
    acks  gate  detector  health  balancer           decisions; time is an argument
    endpoint  connection  upstream                   a client: one connection, one server
    receiver                                         a server: one connection
"""
