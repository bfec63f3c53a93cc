"""Programs that end TLS before a server of ours which listens at the host's loopback."""

from __future__ import annotations

from .part import Part
from .serving import run_server


def front(part: Part, program: str, port: int, behind: int) -> None:
    """`program`: stunnel, nginx-stream or node. Runs until this process is ended."""
    if program == "node":
        run_server(part, ["node", "-e", _NODE, part.address, str(port), str(behind), str(part.secrets)], port)
        return
    if program == "stunnel":
        config = part.scratch / "stunnel.conf"
        config.write_text(
            f"""foreground = yes
pid =
syslog = no
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[front]
accept = {part.address}:{port}
connect = 127.0.0.1:{behind}
cert = {part.secrets}/cert.pem
key = {part.secrets}/key.pem
"""
        )
        run_server(part, ["stunnel4", str(config)], port)
        return
    config = part.scratch / "nginx.conf"
    config.write_text(
        f"""load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root; worker_processes 1; daemon off; pid {part.scratch}/nginx.pid; error_log {part.scratch}/error.log;
events {{ worker_connections 256; }}
stream {{ server {{ listen {part.address}:{port} ssl; ssl_certificate {part.secrets}/cert.pem;
ssl_certificate_key {part.secrets}/key.pem; ssl_protocols TLSv1.2 TLSv1.3; proxy_pass 127.0.0.1:{behind}; }} }}
"""
    )
    run_server(part, ["nginx", "-c", str(config), "-e", str(part.scratch / "error.log")], port)


_NODE = """const [host, port, plain, secrets] = process.argv.slice(1), fs = require("fs"), net = require("net");
require("tls").createServer({cert: fs.readFileSync(secrets + "/cert.pem"), key: fs.readFileSync(secrets + "/key.pem")},
  outer => { const inner = net.connect(+plain, "127.0.0.1"); outer.setNoDelay(); inner.setNoDelay();
    for (const end of [inner, outer]) end.on("error", () => { inner.destroy(); outer.destroy(); });
    outer.pipe(inner); inner.pipe(outer); }).listen(+port, host);"""
