"""The pods of a node, or of the cluster, as one process knows them: watched once, however many ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from logflow.component import Context
from logflow.errors import ComponentError
from logflow.kubernetes.access import Access, from_kubeconfig, in_cluster
from logflow.kubernetes.pods import Namespaces, Pods
from logflow.kubernetes.watch import S, Watch


class Cluster:
    """Pods and namespaces, kept up by shared watches; empty where there is no cluster."""

    def __init__(self, context: Context, kubeconfig: Path | None) -> None:
        self.pods = Pods()
        self.namespaces: Namespaces | None = None
        self._context = context
        self._kubeconfig = kubeconfig

    async def open(self, node: str | None, *, namespaces: bool, wait_s: float) -> None:
        """Begin to watch, and wait for the first lists for a while.

        Raises:
            ComponentError: the kubeconfig cannot be used.
        """
        try:
            access = from_kubeconfig(self._kubeconfig) if self._kubeconfig else in_cluster()
        except ComponentError as error:
            if self._kubeconfig is not None:
                raise
            self._context.log.warning(
                "Filter %s adds only what the paths of log files say: %s.", self._context.name, error
            )
            return
        selector = f"spec.nodeName={node}" if node else ""
        pods = self._share(access, "/api/v1/pods", selector, Pods)
        self.pods, listed = pods.store, [pods.listed]
        if namespaces:
            other = self._share(access, "/api/v1/namespaces", "", Namespaces)
            self.namespaces = other.store
            listed.append(other.listed)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                for event in listed:
                    await event.wait()

    def _share(self, access: Access, path: str, selector: str, make: Callable[[], S]) -> Watch[S]:
        return self._context.services.share(
            ("kubernetes", access.url, path, selector),
            lambda: Watch(access, path, selector, make(), self._context),
        )
