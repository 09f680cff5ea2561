"""Which proxy a request goes through: ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` may say."""

from __future__ import annotations

import ipaddress
import urllib.request

from yarl import URL


def proxy_for(url: URL, setting: str) -> str | None:
    """Return the URL of the proxy, or None if there is none for ``url``.

    Args:
        url: where the request goes.
        setting: ``environment``, ``none``, or the URL of a proxy that takes everything.
    """
    if setting == "none":
        return None
    if setting != "environment":
        return setting
    host = url.host or ""
    if _is_loopback(host) or urllib.request.proxy_bypass(f"{host}:{url.port}"):
        return None
    proxy = urllib.request.getproxies().get(url.scheme)
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
