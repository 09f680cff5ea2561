"""gRPC: calls with one message each way, as a client and as a server.

::

    HEADERS  :path /package.Service/Method, te: trailers, content-type: application/grpc, grpc-timeout ...
    DATA     compressed (1 byte: 0 or 1) | size (4 bytes) | message

    HEADERS  :status 200
    DATA     the answer, in the same way
    HEADERS  grpc-status, grpc-message, grpc-status-details-bin       (these alone where a call is refused)

HTTP/2 itself is the library ``h2``: a state machine without I/O. So connections, TLS, limits and memory are
ours as everywhere else; the other one, ``grpcio``, opens its own sockets, and has a whole message in memory
before we may refuse it. Messages are bytes here: whoever calls encodes them.

Sources: "gRPC over HTTP2" in the documentation of gRPC; RFC 9113; ``google/rpc/error_details.proto``.
"""
