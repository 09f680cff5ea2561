"""An HTTP client for outputs: several endpoints, retries that cannot double, credentials that may change.

A request goes to the next endpoint in turn that is well. What then happens depends on the answer::

    2xx                       delivered, also when the rest of the answer cannot be understood
    no connection             not stored: the next endpoint is tried at once
    429, 503                  not stored: the next endpoint is tried at once; Retry-After is honoured
    408, 425, other 5xx, 3xx  tried again later; redirects are never followed
    401, 403, 404, 407        held: tried again later, as a token or a deployment may be late; after
                              `hold_for` without success to the dead letters
    413                       too large: smaller chunks are made of it; with Retry-After it passes
    other 4xx                 never: to the dead letters
    connection or time lost   perhaps stored: tried again later, first at the same endpoint

``answers`` in the configuration changes this table. An endpoint that fails is left alone for a while,
longer each time; if ``{tag}`` stands in its URL, an answer says something about that tag alone.

Every request carries an ``Idempotency-Key`` (draft-ietf-httpapi-idempotency-key-header), the same over
retries and restarts, so that a receiver can recognise a repeat: without that, delivery is at least once.
"""

from __future__ import annotations

from logflow.net.http_client.client import HttpClient
from logflow.net.http_client.config import HttpClientConfig
from logflow.net.http_client.exchange import Answer, Post, Transport

__all__ = ["Answer", "HttpClient", "HttpClientConfig", "Post", "Transport"]
