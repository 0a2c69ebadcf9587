"""Pure. Where a webhook may go: public addresses in every way of writing them, and what the operator allows by name."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

# Of IPv6 only what is routed in public, without the ranges that wrap an IPv4 address (6to4, Teredo); mapped, compatible and NAT64
# addresses lie outside of it.
_PUBLIC_V6 = IPv6Network("2000::/3")
_WRAPPED_V6 = (IPv6Network("2002::/16"), IPv6Network("2001::/32"))
# Special purposes that not every Python counts as such: IETF protocols, and the old relays to 6to4.
_SPECIAL_V4 = (IPv4Network("192.0.0.0/24"), IPv4Network("192.88.99.0/24"))
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be reached although it is not public: `host:port` by name, and networks."""

    hosts: frozenset[str]
    networks: tuple[object, ...]


def allowed_of(words: Iterable[str]) -> Allowed:
    """Read `host:port` and CIDR networks; raises ValueError for what is neither."""
    hosts, networks = set(), []
    for word in (word.strip() for word in words):
        host, _, port = word.rpartition(":")
        if "/" in word:
            networks.append(ip_network(word))
        elif host and port.isdigit():
            hosts.add(word.lower())
        elif word:
            raise ValueError(f"{word!r} is neither host:port nor a network such as 10.1.0.0/16")
    return Allowed(frozenset(hosts), tuple(networks))


def refusal_of_url(url: URL, allowed: Allowed) -> str | None:
    """Return why a webhook must not go to `url`; its host's addresses are checked when they are known."""
    if url.scheme not in _PORTS or not url.host:
        return "not an http(s) address"
    if url.user is not None or url.password is not None:
        return "an address with a password in it"
    if is_allowed_host(url.host, url.port, allowed):
        return None
    if url.scheme != "https":
        return "not https"
    if url.port != _PORTS[url.scheme]:
        return "not port 443"
    literal = address_of(url.host)
    return refusal_of(literal, allowed) if literal else None


def is_allowed_host(host: str, port: int | None, allowed: Allowed) -> bool:
    """Return whether the operator allows this host and port by name."""
    return f"{host.lower()}:{port}" in allowed.hosts


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that `host` is, None for a name."""
    try:
        return ip_address(host.split("%", maxsplit=1)[0])
    except ValueError:
        return None


def refusal_of(address: IPv4Address | IPv6Address, allowed: Allowed) -> str | None:
    """Return why nothing may be sent to `address`."""
    if any(address in network for network in allowed.networks):  # type: ignore[operator]  # a network of either version
        return None
    if isinstance(address, IPv6Address):
        public = address in _PUBLIC_V6 and address.is_global and not any(address in network for network in _WRAPPED_V6)
    else:
        special = address.is_multicast or address.is_reserved or any(address in network for network in _SPECIAL_V4)
        public = address.is_global and not special
    return None if public else "not a public address"
