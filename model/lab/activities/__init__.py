"""The activities a scenario can ask for. Names and labels here; the programs in the modules, imported when they run."""

from __future__ import annotations

from dataclasses import dataclass

_SERVERS_TLS = ("nginx", "lighttpd", "python")
_PYTHON_H = ("curl", "curl-h1", "urllib", "httpx", "requests")


@dataclass(frozen=True)
class Activity:
    """`implementations`: "server/client". `malicious`: the kind, or "". `module`: where serve() and act() are."""

    module: str
    service: str
    implementations: tuple[str, ...]
    application: str = ""
    tunnel: str = ""
    inner_service: str = ""
    malicious: str = ""


def _pairs(servers: tuple[str, ...], clients: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{server}/{client}" for client in clients for server in servers)


_HTTPS = _pairs(_SERVERS_TLS, _PYTHON_H)
_SSH = _pairs(("openssh", "dropbear"), ("openssh", "dbclient"))
_DNS = _pairs(("dnsmasq", "unbound"), ("dig", "python"))
_WS = ("websockets/websockets",)
_MQTT = _pairs(("mosquitto",), ("mosquitto", "python"))

ACTIVITIES: dict[str, Activity] = {
    "web": Activity("web", "web", (*_HTTPS, "aioquic/aioquic")),
    "streaming": Activity("web", "streaming", (*_HTTPS, "aioquic/aioquic")),
    "download": Activity("web", "file_transfer", _HTTPS),
    "upload": Activity("web", "file_transfer", _pairs(("python",), _PYTHON_H)),
    "dns": Activity("dns", "infrastructure", _DNS, application="DNS"),
    "chat_websocket": Activity("chat", "chat", _WS),
    "chat_mqtt": Activity("mqtt", "chat", _MQTT, application="MQTT"),
    "sensor": Activity("mqtt", "iot", _MQTT, application="MQTT"),
    "call": Activity("voip", "voip", ("opus/opus", "g711/g711", "g729/g729", "video/video"), application="RTP"),
    "mail_send": Activity("mail", "email", _pairs(("python", "stunnel"), ("smtplib", "curl")), application="SMTPS"),
    "shell": Activity("ssh", "remote_access", _SSH, application="SSH"),
    "rsync": Activity("ssh", "file_transfer", _pairs(("openssh", "dropbear"), ("rsync",)), application="SSH"),
    "copy": Activity("ssh", "file_transfer", _SSH, application="SSH"),
    "sftp": Activity("ssh", "file_transfer", ("openssh/sftp",), application="SSH"),
    "ssh_tunnel": Activity("ssh", "tunnel", _SSH, application="SSH", tunnel="ssh", inner_service="web"),
    "redis": Activity("database", "database", _pairs(("redis", "redis-tls"), ("redis", "python")), application="Redis"),
    # Shapes only: sizes and times of what such traffic looks like, random bytes, between the lab's own hosts.
    "beacon_https": Activity("web", "web", _HTTPS, malicious="beacon_https"),
    "beacon_quic": Activity("web", "web", ("aioquic/aioquic",), malicious="beacon_quic"),
    "beacon_websocket": Activity("chat", "web", _WS, malicious="beacon_websocket"),
    "beacon_dns": Activity("dns", "infrastructure", _DNS, application="DNS", malicious="beacon_dns"),
    "dns_tunnel": Activity("dns", "infrastructure", _DNS, application="DNS", tunnel="dns", malicious="dns_tunnel"),
    "exfiltration_burst": Activity("web", "web", _pairs(("python",), _PYTHON_H), malicious="exfiltration_burst"),
    "exfiltration_steady": Activity("web", "web", _pairs(("python",), _PYTHON_H), malicious="exfiltration_steady"),
    "exfiltration_drip": Activity("web", "web", _pairs(("python",), _PYTHON_H), malicious="exfiltration_drip"),
    "guess_https": Activity("web", "web", _HTTPS, malicious="guess_https"),
    "guess_ssh": Activity("ssh", "remote_access", _SSH, application="SSH", malicious="guess_ssh"),
    "guess_redis": Activity("database", "database", _pairs(("redis", "redis-tls"), ("redis", "python")),
                            application="Redis", malicious="guess_redis"),
    "slow_http": Activity("web", "web", _pairs(_SERVERS_TLS, ("python",)), malicious="slow_http"),
    "port_scan": Activity("scan", "infrastructure", ("none/python",), malicious="port_scan"),
}

#: What each implementation needs on the machine: (program or module, remedy). Those of Python alone need nothing.
NEEDS: dict[str, tuple[tuple[str, str], ...]] = {
    "nginx": (("nginx", "apt-get install nginx-light"),),
    "lighttpd": (
        ("lighttpd", "apt-get install lighttpd lighttpd-mod-openssl"),
        ("/usr/lib/lighttpd/mod_openssl.so", "apt-get install lighttpd-mod-openssl"),
    ),
    "curl": (("curl", "apt-get install curl"),),
    "curl-h1": (("curl", "apt-get install curl"),),
    "dnsmasq": (("dnsmasq", "apt-get install dnsmasq-base"),),
    "unbound": (("unbound", "apt-get install unbound"),),
    "dig": (("dig", "apt-get install bind9-dnsutils"),),
    "mosquitto": (("mosquitto", "apt-get install mosquitto"), ("mosquitto_pub", "apt-get install mosquitto-clients")),
    "stunnel": (("stunnel4", "apt-get install stunnel4"),),
    "openssh": (("ssh", "apt-get install openssh-client"), ("sshd", "apt-get install openssh-server")),
    "sftp": (("sftp", "apt-get install openssh-client"),),
    "dropbear": (("dropbear", "apt-get install dropbear-bin"), ("dropbearkey", "apt-get install dropbear-bin")),
    "dbclient": (("dbclient", "apt-get install dropbear-bin"), ("dropbearkey", "apt-get install dropbear-bin")),
    "rsync": (("rsync", "apt-get install rsync"), ("ssh", "apt-get install openssh-client")),
    "redis": (("redis-server", "apt-get install redis-server"), ("redis-cli", "apt-get install redis-tools")),
    "redis-tls": (("redis-server", "apt-get install redis-server"),),
    "httpx": (("python:httpx", "pip install 'mmtt[lab]'"), ("python:h2", "pip install 'mmtt[lab]'")),
    "requests": (("python:requests", "pip install 'mmtt[lab]'"),),
    "aioquic": (("python:aioquic", "pip install 'mmtt[lab]'"),),
}
