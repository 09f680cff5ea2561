"""Source ``http``: takes events from POST requests.

::

    POST /TAG          the tag as written (/kube.web) or in segments (/kube/web)
    GET  /healthz      200 while the source runs

    200  {"events": n}  the events are safe: on disk or delivered
    400, 413, 415       the body cannot be used, and nothing of it was; the text says why
    401, 404, 405       not this way
    408                 the body did not come in time
    429                 no room now: come again (Retry-After)
    503                 starting, stopping, or not safe in time: come again, with the same Idempotency-Key

A request with an ``Idempotency-Key`` that was taken before, with the same tag and body, is answered
with 200 and not taken again. (The body belongs to it so that a key used twice by mistake loses nothing.)
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from logflow.config.fields import ParserField
from logflow.net.complaints import Complaints
from logflow.net.http_server import HttpIntake, HttpIntakeConfig
from logflow.net.http_server.tags import check_tag
from logflow.net.tags import Tags
from logflow.sources.http.bodies import BodyReader
from logflow.sources.http.requests import TagHandler


class HttpSource(HttpIntake):
    """Accepts events that clients post under their tag."""

    class Config(HttpIntakeConfig):
        """Options of the source ``http``."""

        tag: Annotated[str, AfterValidator(check_tag)] | None = Field(
            None, description="Tag of what is posted to `/`; unset: such requests are refused."
        )
        parse: ParserField = Field(
            {"type": "json"}, validate_default=True,
            description="Parser of the lines of a body; for a time in them set its `time_key`.",
        )  # fmt: skip

    config: HttpSource.Config

    def handler(self, complain: Complaints, tags: Tags) -> TagHandler:
        """Take what is posted to a tag."""
        config, context = self.config, self.context
        reader = BodyReader(context, context.parser(config.parse), config.max_body)
        return TagHandler(
            context, complain, reader, config.limits, auth=config.auth, root_tag=config.tag, tags=tags
        )
