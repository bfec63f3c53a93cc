"""Record the captures of this folder: real programs in two network namespaces, joined by one veth link.

Needs root and iproute2, ethtool, tcpdump, nginx, curl, openssl, openssh-server, dnsmasq, dnsutils and, from PyPI,
aioquic. Usage: ``record.py [OUTPUT_DIRECTORY]``. Nothing leaves the machine: the namespaces have no route out.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CLIENT, SERVER = "mmtt-client", "mmtt-server"
CLIENT_IP, SERVER_IP = "10.77.0.1", "10.77.0.2"
SERVER_IP6 = "fd77::2"
CLIENT_VXLAN_IP, SERVER_VXLAN_IP = "10.78.0.1", "10.78.0.2"


def run(*command: str, namespace: str | None = None, check: bool = True, **options) -> subprocess.CompletedProcess:
    prefix = ["ip", "netns", "exec", namespace] if namespace else []
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | options
    return subprocess.run([*prefix, *command], check=check, **options)


def start(stack: contextlib.ExitStack, *command: str, namespace: str) -> subprocess.Popen:
    process = subprocess.Popen(
        ["ip", "netns", "exec", namespace, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def stop() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()

    stack.callback(stop)
    return process


def build_link(stack: contextlib.ExitStack) -> None:
    for namespace in (CLIENT, SERVER):
        run("ip", "netns", "add", namespace)
        stack.callback(run, "ip", "netns", "del", namespace, check=False)
        run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", namespace=namespace, check=False)
        run("ip", "link", "set", "lo", "up", namespace=namespace)
    run(
        "ip",
        "link",
        "add",
        "veth0",
        "netns",
        CLIENT,
        "type",
        "veth",
        "peer",
        "name",
        "veth0",
        "netns",
        SERVER,
    )
    for namespace, ip, ip6 in ((CLIENT, CLIENT_IP, "fd77::1"), (SERVER, SERVER_IP, SERVER_IP6)):
        run("ip", "addr", "add", f"{ip}/24", "dev", "veth0", namespace=namespace)
        run("ip", "addr", "add", f"{ip6}/64", "dev", "veth0", "nodad", namespace=namespace)
        # Without this the capture holds segments no wire carries, and checksums nobody filled in.
        run(
            "ethtool",
            "-K",
            "veth0",
            "tx",
            "off",
            "tso",
            "off",
            "gso",
            "off",
            "gro",
            "off",
            namespace=namespace,
        )
        run("ip", "link", "set", "veth0", "up", namespace=namespace)
    for namespace, ip, peer in ((CLIENT, CLIENT_VXLAN_IP, SERVER_IP), (SERVER, SERVER_VXLAN_IP, CLIENT_IP)):
        run(
            "ip",
            "link",
            "add",
            "vx0",
            "type",
            "vxlan",
            "id",
            "7",
            "dstport",
            "4789",
            "remote",
            peer,
            "dev",
            "veth0",
            namespace=namespace,
        )
        run("ip", "addr", "add", f"{ip}/24", "dev", "vx0", namespace=namespace)
        run("ethtool", "-K", "vx0", "tx", "off", "tso", "off", "gso", "off", namespace=namespace, check=False)
        run("ip", "link", "set", "vx0", "up", namespace=namespace)


def start_servers(stack: contextlib.ExitStack, home: Path) -> None:
    run(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "30",
        "-subj",
        "/CN=server.test",
        "-keyout",
        str(home / "key.pem"),
        "-out",
        str(home / "cert.pem"),
    )
    site = home / "site"
    site.mkdir()
    rng = random.Random(7)
    objects = {f"o{i}.bin": rng.randint(400, 30_000) for i in range(8)}
    for name, size in (objects | {"large.bin": 150_000}).items():
        (site / name).write_bytes(rng.randbytes(size))
    (site / "index.html").write_text("<html>" + "".join(f"<img src={name}>" for name in objects) + "</html>\n" * 50)
    home.chmod(0o755)
    (home / "nginx.conf").write_text(
        f"daemon off; pid {home}/nginx.pid; error_log /dev/null; events {{}} http {{ access_log off; "
        f"client_body_temp_path {home}/t1; proxy_temp_path {home}/t2; fastcgi_temp_path {home}/t3; "
        f"uwsgi_temp_path {home}/t4; scgi_temp_path {home}/t5; client_max_body_size 9m; "
        f"server {{ listen 443 ssl http2; listen [::]:443 ssl http2; listen 80; "
        f"ssl_certificate {home}/cert.pem; ssl_certificate_key {home}/key.pem; root {site}; "
        f"location /up {{ return 200; }} }} }}"
    )
    start(stack, "nginx", "-c", str(home / "nginx.conf"), namespace=SERVER)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "host"))
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "user"))
    shutil.copy(home / "user.pub", home / "authorized")
    Path("/run/sshd").mkdir(exist_ok=True)
    start(
        stack,
        "/usr/sbin/sshd",
        "-D",
        "-f",
        "/dev/null",
        "-h",
        str(home / "host"),
        "-p",
        "22",
        "-o",
        f"AuthorizedKeysFile={home}/authorized",
        "-o",
        "StrictModes=no",
        "-o",
        "UsePAM=no",
        "-o",
        f"PidFile={home}/sshd.pid",
        namespace=SERVER,
    )
    start(
        stack,
        "dnsmasq",
        "-k",
        "-C",
        "/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--address=/test/10.77.0.2",
        f"--listen-address={SERVER_IP}",
        "--bind-interfaces",
        "-u",
        "root",
        f"--pid-file={home}/dns.pid",
        namespace=SERVER,
    )
    start(stack, sys.executable, __file__, "--serve-quic", str(home), namespace=SERVER)
    start(stack, sys.executable, __file__, "--serve-media", namespace=SERVER)
    time.sleep(2)


def ssh_command(home: Path) -> list[str]:
    return [
        "ssh",
        "-i",
        str(home / "user"),
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "BatchMode=yes",
        f"root@{SERVER_IP}",
    ]


def type_over_ssh(home: Path, text: bytes) -> None:
    session = subprocess.Popen(
        ["ip", "netns", "exec", CLIENT, *ssh_command(home), "-tt", "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    rng = random.Random(3)
    for letter in text + b"\x04":
        session.stdin.write(bytes([letter]))
        session.stdin.flush()
        time.sleep(rng.uniform(0.05, 0.2))
    session.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        session.wait(10)
    session.kill()


def use_services(home: Path) -> None:
    """What a few users would do, one after another."""

    def client(*command: str, **options) -> None:
        run(*command, namespace=CLIENT, check=False, timeout=60, **options)

    base = f"https://{SERVER_IP}"
    for name in ("www.test", "mail.test", "cdn.test"):
        client("dig", f"@{SERVER_IP}", name)
        client("dig", f"@{SERVER_IP}", "AAAA", name)
    for protocol in ("--http2", "--http1.1"):
        urls = [f"{base}/index.html", *(f"{base}/o{i}.bin" for i in range(8))]
        client("curl", "-sk", protocol, *(part for url in urls for part in ("-o", "/dev/null", url)))
    client(
        "curl",
        "-skg",
        "-o",
        "/dev/null",
        f"https://[{SERVER_IP6}]/o1.bin",
        "-o",
        "/dev/null",
        f"https://[{SERVER_IP6}]/o2.bin",
    )
    # Slow enough that the connection has packets past 257: a later window.
    client(
        "curl",
        "-sk",
        "--limit-rate",
        "120k",
        "-o",
        "/dev/null",
        f"{base}/large.bin",
        "-o",
        "/dev/null",
        f"{base}/large.bin",
        "-o",
        "/dev/null",
        f"{base}/large.bin",
    )
    client("curl", "-sk", "-o", "/dev/null", "--data-binary", f"@{home}/site/large.bin", f"{base}/up")
    client("curl", "-s", "-o", "/dev/null", f"http://{SERVER_IP}/o3.bin")
    client(
        "curl",
        "-sk",
        "-o",
        "/dev/null",
        f"https://{SERVER_VXLAN_IP}/o4.bin",
        "-o",
        "/dev/null",
        f"https://{SERVER_VXLAN_IP}/o5.bin",
    )
    client(*ssh_command(home), "ls -l /usr/bin | head -40")
    type_over_ssh(home, b"echo what a person types\n")
    client(sys.executable, __file__, "--use-quic")
    client(sys.executable, __file__, "--use-media")
    # Too short for a verdict, refused, and never answered.
    client("curl", "-s", "-o", "/dev/null", "-m", "2", f"http://{SERVER_IP}:81/")
    client("ping", "-c", "2", SERVER_IP)


def record(home: Path, path: Path, activity) -> None:
    raw = home / path.name
    capture = subprocess.Popen(
        ["ip", "netns", "exec", CLIENT, "tcpdump", "-U", "-i", "veth0", "-w", str(raw)],
        stderr=subprocess.DEVNULL,
    )
    time.sleep(1)
    activity()
    time.sleep(1.5)
    capture.terminate()
    capture.wait()
    shutil.copy(raw, path)
    print(f"{path}: {path.stat().st_size:,} bytes")


def midstream(home: Path) -> None:
    """A session that began before the capture did."""
    session = threading.Thread(target=type_over_ssh, args=(home, b"the capture starts in the middle of this line\n"))
    session.start()
    time.sleep(1)
    record(home, OUTPUT / "midstream.pcap", session.join)


async def serve_quic(home: Path) -> None:
    from aioquic.asyncio import serve
    from aioquic.quic.configuration import QuicConfiguration

    configuration = QuicConfiguration(is_client=False, alpn_protocols=["hq-interop"])
    configuration.load_cert_chain(home / "cert.pem", home / "key.pem")
    payload = random.Random(5).randbytes(40_000)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(payload)
        writer.write_eof()

    await serve(
        "0.0.0.0",
        443,
        configuration=configuration,
        stream_handler=lambda reader, writer: asyncio.ensure_future(answer(reader, writer)),
    )
    await asyncio.Event().wait()


async def use_quic() -> None:
    from aioquic.asyncio import connect
    from aioquic.quic.configuration import QuicConfiguration

    configuration = QuicConfiguration(
        alpn_protocols=["hq-interop"], verify_mode=ssl.CERT_NONE, server_name="server.test"
    )
    async with connect(SERVER_IP, 443, configuration=configuration) as connection:
        for _ in range(2):
            reader, writer = await connection.create_stream()
            writer.write(b"GET /\r\n")
            writer.write_eof()
            await reader.read()


def media_packets(seed: int):
    """RTP-like datagrams every 20 ms: 160 bytes of voice, silence now and then."""
    rng = random.Random(seed)
    for sequence in range(150):
        if rng.random() > 0.2:
            yield struct.pack("!BBHII", 0x80, 0, sequence, sequence * 160, seed) + rng.randbytes(160)
        else:
            yield struct.pack("!BBHII", 0x80, 13, sequence, sequence * 160, seed) + b"\0"


def talk(sock: socket.socket, peer, seed: int) -> None:
    for packet in media_packets(seed):
        sock.sendto(packet, peer)
        time.sleep(0.02)


def serve_media() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((SERVER_IP, 40_000))
    talk(sock, sock.recvfrom(2048)[1], seed=2)


def use_media() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((CLIENT_IP, 40_002))
    talk(sock, (SERVER_IP, 40_000), seed=1)
    time.sleep(0.5)


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("record.py: needs root, to make network namespaces; run it with sudo")
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        build_link(stack)
        start_servers(stack, home)
        record(home, OUTPUT / "office.pcap", lambda: use_services(home))
        midstream(home)


if __name__ == "__main__":
    OUTPUT = Path(__file__).parent
    match sys.argv[1:]:
        case ["--serve-quic", folder]:
            asyncio.run(serve_quic(Path(folder)))
        case ["--use-quic"]:
            asyncio.run(use_quic())
        case ["--serve-media"]:
            serve_media()
        case ["--use-media"]:
            use_media()
        case [folder]:
            OUTPUT = Path(folder)
            OUTPUT.mkdir(parents=True, exist_ok=True)
            main()
        case _:
            main()
