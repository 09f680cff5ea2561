"""Answers to calls of gRPC that bring events."""

from __future__ import annotations

from collections.abc import Mapping

from logflow.component import Context
from logflow.config.auth import HttpAuth
from logflow.net.complaints import Complaints
from logflow.net.grpc.server import Call, Reply
from logflow.net.grpc.wire import FROM_HTTP, Code
from logflow.net.http_server.intake import Intake, Limits, Read, Refused
from logflow.net.tags import Tags


class CallHandler(Intake):
    """Answers calls: with an empty message once the events of theirs are safe."""

    def __init__(
        self,
        context: Context,
        complain: Complaints,
        limits: Limits,
        *,
        auth: HttpAuth | None,
        tags: Tags,
        methods: Mapping[str, Read],
    ) -> None:
        """Answer calls of ``methods``, by their paths, each with what reads its messages."""
        super().__init__(context, complain, limits, auth=auth, tags=tags)
        self._methods = methods

    async def __call__(self, call: Call) -> Reply:
        """Answer one call."""
        try:
            if not self.knows(call.headers.get("authorization", "")):
                raise Refused(401, "credentials are missing or wrong")
            if (read := self._methods.get(call.path)) is None:
                raise Refused(404, f"there is no such method here; there is {', '.join(self._methods)}")
            await self.take_body(call, read)
        except Refused as refusal:
            self.note(refusal, call.named, call.peer)
            retry_s = refusal.headers.get("Retry-After")
            return Reply(
                FROM_HTTP.get(refusal.status, Code.INVALID_ARGUMENT),
                str(refusal),
                retry_s=None if retry_s is None else float(retry_s),
            )
        return Reply()
