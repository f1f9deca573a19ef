"""What a confined process tries, one line each: its name, and `ok`, the name of an error, or `silence`.

Arguments: the gateway's port, a listener's that is nobody's business, a datagram socket's, the resolver's.
"""

import errno
import os
import socket
import struct
import sys

GATEWAY, ELSEWHERE, DATAGRAMS, RESOLVER = map(int, sys.argv[1:5])
PATIENCE = 1.0
V4, V6, MAPPED = "127.0.0.1", "::1", "::ffff:127.0.0.1"


def attempt(name, act):
    try:
        outcome = act() or "ok"
    except TimeoutError:
        outcome = "silence"
    except OSError as error:
        outcome = errno.errorcode.get(error.errno, str(error.errno))
    print(name, outcome, flush=True)


def make(family, kind, protocol=0):
    made = socket.socket(family, kind, protocol)
    made.settimeout(PATIENCE)
    return made


def tcp(family, address, port):
    def act():
        with make(family, socket.SOCK_STREAM) as client:
            client.connect((address, port))

    return act


def asks(address, port):
    """A question to the gateway, and the status of the answer."""
    with make(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.connect((address, port))
        client.sendall(b"GET /tools/crm/x HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n")
        return client.recv(64).split()[1].decode()


def fast_open():
    with make(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.sendto(b"x", socket.MSG_FASTOPEN, (V4, ELSEWHERE))


def datagram(family, address, connected):
    def act():
        with make(family, socket.SOCK_DGRAM) as client:
            if connected:
                client.connect((address, DATAGRAMS))
                client.send(b"x")
            else:
                client.sendto(b"x", (address, DATAGRAMS))

    return act


def reconnected():
    """A datagram socket that is connected to the resolver and sends elsewhere."""
    with make(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((V4, RESOLVER))
        client.sendto(b"x", (V4, DATAGRAMS))


def resolver(connected):
    def act():
        with make(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect((V4, RESOLVER))
            client.send(b"who is there")
            return client.recv(64).decode()

    def unconnected():
        with make(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"who is there", (V4, RESOLVER))
            return client.recv(64).decode()

    return act if connected else unconnected


def made(family, kind, protocol):
    return lambda: make(family, kind, protocol).close()


def bound(family, address):
    def act():
        with make(family, socket.SOCK_STREAM) as listener:
            listener.bind((address, 18080))
            listener.listen()

    return act


def source_routed():
    """The socket says the gateway, the packets go elsewhere first (RFC 791 §3.1, loose source route)."""
    with make(socket.AF_INET, socket.SOCK_STREAM) as client:
        route = bytes([131, 7, 4]) + socket.inet_aton("127.0.0.9") + b"\0"
        client.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, route)
        client.connect((V4, GATEWAY))


def listens_unbound():
    """Tells its port on standard error and waits for somebody to get through."""
    with make(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.listen()
        print("listening", listener.getsockname()[1], file=sys.stderr, flush=True)
        listener.settimeout(3)
        listener.accept()


def without_capabilities():
    """A packet socket, by a child that has no capability left."""
    return "EPERM" if os.system("setpriv --bounding-set -all --inh-caps -all --no-new-privs -- " + sys.executable
                                + " -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)' 2>/dev/null") else None


attempt("gateway", lambda: asks(V4, GATEWAY))
attempt("resolver-connected", resolver(True))
attempt("resolver-unconnected", resolver(False))
attempt("tcp4", tcp(socket.AF_INET, V4, ELSEWHERE))
attempt("tcp6", tcp(socket.AF_INET6, V6, ELSEWHERE))
attempt("tcp-mapped", tcp(socket.AF_INET6, MAPPED, ELSEWHERE))
attempt("tcp-other-address", tcp(socket.AF_INET, "127.0.0.2", GATEWAY))
attempt("gateway-mapped", tcp(socket.AF_INET6, MAPPED, GATEWAY))
attempt("fast-open", fast_open)
attempt("udp4", datagram(socket.AF_INET, V4, False))
attempt("udp4-connected", datagram(socket.AF_INET, V4, True))
attempt("udp6", datagram(socket.AF_INET6, V6, False))
attempt("udp6-connected", datagram(socket.AF_INET6, V6, True))
attempt("udp-mapped", datagram(socket.AF_INET6, MAPPED, False))
attempt("udp-mapped-connected", datagram(socket.AF_INET6, MAPPED, True))
attempt("udp-reconnected", reconnected)
attempt("raw-icmp4", made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("raw-udp4", made(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP))
attempt("raw-icmp6", made(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6))
attempt("raw-udp6", made(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_UDP))
attempt("mptcp", made(socket.AF_INET, socket.SOCK_STREAM, 262))
attempt("bind4", bound(socket.AF_INET, V4))
attempt("bind6", bound(socket.AF_INET6, V6))
attempt("source-routed", source_routed)
attempt("packet-socket", without_capabilities)
attempt("listens-unbound", listens_unbound)
