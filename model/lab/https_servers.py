"""The usual web servers over TLS, each with its own configuration, giving out a directory or what a program behind them
answers.
"""

from __future__ import annotations

from pathlib import Path

from .part import Part

PORT = 443


def command(part: Part, root: Path | None = None, behind: Path | None = None) -> list[str]:
    """Starts the part's `server`, one of SERVERS or "caddy-h3", at its address: with the files below `root`, or in
    front of the HTTP server at the unix socket `behind`."""
    return _COMMANDS[part.server](part, root, behind)


def _nginx(part: Part, root: Path | None, behind: Path | None) -> list[str]:
    here = part.scratch
    content = f"root {root};" if root else f"location / {{ proxy_pass http://unix:{behind}:; }}"
    (here / "nginx.conf").write_text(
        f"""user root; worker_processes 1; daemon off; pid {here}/nginx.pid; error_log {here}/error.log;
events {{ worker_connections 256; }}
http {{ access_log off; client_body_temp_path {here}; proxy_temp_path {here}; fastcgi_temp_path {here};
uwsgi_temp_path {here}; scgi_temp_path {here}; client_max_body_size 100m; large_client_header_buffers 8 32k;
types {{ text/html html; }}
server {{ listen {part.address}:{PORT} ssl http2; ssl_certificate {part.secrets}/cert.pem;
ssl_certificate_key {part.secrets}/key.pem; {content} }} }}
"""
    )
    return ["nginx", "-c", str(here / "nginx.conf"), "-e", str(here / "error.log")]


def _lighttpd(part: Part, root: Path | None, behind: Path | None) -> list[str]:
    config = part.scratch / "lighttpd.conf"
    content = "" if root else f'proxy.server = ("/" => (("socket" => "{behind}")))'
    config.write_text(
        f"""server.modules = ("mod_openssl", "mod_proxy")
server.bind = "{part.address}"
server.port = {PORT}
server.document-root = "{root or part.scratch}"
server.errorlog = "{part.scratch}/error.log"
server.upload-dirs = ("{part.scratch}")
mimetype.assign = (".html" => "text/html")
ssl.engine = "enable"
ssl.pemfile = "{part.secrets}/cert.pem"
ssl.privkey = "{part.secrets}/key.pem"
{content}
"""
    )
    return ["lighttpd", "-D", "-f", str(config)]


def _apache(part: Part, root: Path | None, behind: Path | None) -> list[str]:
    here, modules = part.scratch, "/usr/lib/apache2/modules"
    names = (
        "mpm_event",
        "authz_core",
        "socache_shmcb",
        "ssl",
        "http2",
        *(("mime",) if root else ("proxy", "proxy_http")),
    )
    loaded = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in names)
    content = (
        f"DocumentRoot {root}\nTypesConfig /dev/null\nAddType text/html .html"
        if root
        else f"ProxyPass / unix:{behind}|http://lab.test/"
    )
    config = here / "apache.conf"
    config.write_text(
        f"""{loaded}
ServerRoot {here}
ServerName lab.test
PidFile {here}/apache.pid
DefaultRuntimeDir {here}
Mutex file:{here}
ErrorLog {here}/error.log
Listen {part.address}:{PORT}
StartServers 1
ThreadsPerChild 32
ServerLimit 2
MaxRequestWorkers 64
MinSpareThreads 4
MaxSpareThreads 64
Protocols h2 http/1.1
SSLEngine on
SSLCertificateFile {part.secrets}/cert.pem
SSLCertificateKeyFile {part.secrets}/key.pem
{content}
"""
    )
    if root:
        # Apache's children are not root.
        for folder in (root, *root.parents[:3]):
            if str(folder) != "/tmp":
                folder.chmod(folder.stat().st_mode | 0o011)
    return ["apache2", "-DFOREGROUND", "-f", str(config)]


def _caddy(part: Part, root: Path | None, behind: Path | None) -> list[str]:
    config = part.scratch / "Caddyfile"
    content = f"root * {root}\nfile_server" if root else f"reverse_proxy unix/{behind}"
    config.write_text(
        f"""{{
admin off
auto_https off
storage file_system {part.scratch}/caddy
servers {{
protocols {"h1 h2 h3" if part.server == "caddy-h3" else "h1 h2"}
}}
}}
https://:{PORT} {{
bind {part.address}
tls {part.secrets}/cert.pem {part.secrets}/key.pem
{content}
}}
"""
    )
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]


_COMMANDS = {"nginx": _nginx, "lighttpd": _lighttpd, "apache": _apache, "caddy": _caddy, "caddy-h3": _caddy}
SERVERS = ("nginx", "lighttpd", "apache", "caddy")
