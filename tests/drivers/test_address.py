"""HOST:PORT, both ways."""

from __future__ import annotations

import errno
import socket

import pytest

from drivers.wire.address import host_port, joined
from twins.listening import cannot_serve


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("lab-7.example:65535", ("lab-7.example", 65535)),
        ("[::1]:502", ("::1", 502)),
        ("[2001:db8::7]:4880", ("2001:db8::7", 4880)),
        ("[fe80::1%eth0]:111", ("fe80::1%eth0", 111)),
    ],
)
def test_an_address_is_read_and_written_the_same(text: str, found: tuple[str, int]) -> None:
    assert host_port(text) == found
    assert joined(*found) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "host", "host:", ":1", "::1", "::1:1", "[::1]", "[]:1", "[a]:1", "[1.2.3.4]:1", "h:-1", "h:²", "a b:1"],
)
def test_what_is_no_address_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(ValueError, match="is no HOST:PORT"):
        host_port(text)


def test_a_port_beyond_the_last_is_named() -> None:
    with pytest.raises(ValueError, match=r"'h:65536' is no HOST:PORT: ports go up to 65535"):
        host_port("h:65536")


@pytest.mark.parametrize(
    ("no", "says"),
    [
        (OSError(errno.EADDRINUSE, "bound"), "choose another port, or 0"),
        (OSError(errno.EACCES, "denied"), "permission denied; choose a port of 1024 or more"),
        (OSError(errno.EADDRNOTAVAIL, "none"), "none of this machine's; choose one that is"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "no such host.*give a name or an address"),
    ],
)
def test_each_kind_of_error_has_its_own_remedy(no: OSError, says: str) -> None:
    with pytest.raises(OSError, match=rf"^tcp:\[::1\]:80: .*{says}"):
        raise cannot_serve("tcp", "::1", 80, no)
