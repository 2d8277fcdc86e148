"""Why a server gives no answer, said with a remedy."""

from __future__ import annotations

import re
import ssl

_BETWEEN = "check the API server's health and what is between, a load balancer or a proxy"


def explained(host: str, error: BaseException) -> str:
    """A sentence from an error of urllib3, ssl or the socket below them."""
    cause = root(error)
    host, text = without_password(host), without_password(str(cause) or type(cause).__name__).rstrip(".")
    lower = text.lower()
    if isinstance(cause, NotAnAnswer):
        return f"{host} answers, but {text}; check that address and proxy lead to an API server, and its health"
    why = getattr(cause, "verify_message", "") or text
    if _of_the_proxy(error) and "tunnel connection failed" not in lower:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate of the proxy to {host} is not trusted: {why}; give its CA as well (option ca_cert)"
        return f"the proxy to {host} cannot be reached: {text}; check proxy, the kubeconfig's proxy-url and no_proxy"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {host} is not trusted: {why}; give the cluster's CA (certificate-authority in the "
            f"kubeconfig, or option ca_cert)"
        )
    if isinstance(cause, ssl.SSLError) and "eof occurred" not in lower:
        return (
            f"no TLS connection to {host}: {text}; check that the address is an https API server and that the "
            f"client certificate fits"
        )
    if isinstance(cause, ConnectionRefusedError):
        return (
            f"{host} refuses connections; check that the API server runs and that the address in the kubeconfig "
            f"is right"
        )
    if "tunnel connection failed" in lower:
        return f"the proxy to {host} refuses: {text}; check proxy, proxy_headers and no_proxy"
    if "timed out" in lower:
        return (
            f"{host} does not answer in time ({text}); check network, VPN, firewall and proxy, or raise request_timeout"
        )
    if "resolve" in lower or "name or service" in lower:
        return (
            f"the name of {host} does not resolve; check the server address in the kubeconfig and the controller's DNS"
        )
    if isinstance(cause, ConnectionError) or "eof occurred" in lower:
        return f"{host} ends connections before it has answered ({text}); {_BETWEEN}"
    if "incompleteread" in lower or "invalid literal for int" in lower:
        return f"{host} ends connections in the middle of its answers; {_BETWEEN}"
    return f"{host} cannot be reached: {text}; check network and proxy"


def _of_the_proxy(error: BaseException) -> bool:
    """Whether the way ended at the proxy."""
    from urllib3.exceptions import ProxyError

    return isinstance(error, ProxyError)


class NotAnAnswer(Exception):
    """What came back is not what an API server sends, or not all of it."""


def without_password(text: str) -> str:
    """The text without the user and password of the URLs in it, whatever characters a password has."""
    return re.sub(r"//(?:[^/:\s]*:\S*|[^/\s]*)@", "//***@", text)


def without_user(address: str) -> str:
    """An address as an option gives it, perhaps without a scheme, and without the user and password in it."""
    before, at, server = address.rpartition("@")
    scheme, separator, _user = before.partition("://")
    return f"{scheme if separator else ''}{separator}***@{server}" if at else address


def root(error: BaseException) -> BaseException:
    """The innermost cause of an error of urllib3."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        below = (
            getattr(error, "reason", None)
            or error.__cause__
            or error.__context__
            or next((arg for arg in error.args if isinstance(arg, BaseException)), None)
        )
        if not isinstance(below, BaseException):
            break
        error = below
    return error


def final(error: BaseException) -> bool:
    """Whether the same request cannot succeed later either."""
    cause = root(error)
    return isinstance(cause, (ssl.SSLCertVerificationError, ValueError)) and not isinstance(cause, UnicodeError)
