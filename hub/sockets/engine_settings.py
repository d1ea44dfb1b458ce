"""The engine's server as the settings say."""

import ssl

from hub.engine import Options, Server
from hub.plumbing.settings.process import Web
from hub.plumbing.settings.product import Sockets
from hub.plumbing.settings.settings import Settings


def options(sockets: Sockets, web: Web) -> Options:
    return Options(
        ping_interval=sockets.ping_interval_ms / 1000,
        ping_timeout=sockets.ping_timeout_ms / 1000,
        connect_timeout=sockets.connect_timeout_s,
        max_payload=sockets.max_payload_bytes,
        backlog_low=sockets.backlog_low,
        backlog_high=sockets.backlog_high,
        conn_max_node=sockets.max_per_node,
        conn_max_ip=sockets.max_per_ip,
        accept_rate=sockets.accept_rate,
        trust_proxy=web.trust_proxy,
        keep_request=False,
        cors_origins="*" if "*" in web.cors_origins else web.cors_origins,
        transports=sockets.transports,
    )


def open_server(settings: Settings) -> Server:
    return Server(options(settings.sockets, settings.web))


def tls(web: Web) -> ssl.SSLContext | None:
    if web.tls_cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(web.tls_cert_file, web.tls_key_file)
    return context
