"""`imgctl server`: run the server, or check its settings."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from imgctl_cli import exits, logs
from imgctl_cli.options import verbose_option
from imgctl_core.text import one_line


@click.command("server")
@click.option(
    "-b",
    "--bind-address",
    metavar="HOST:PORT",
    help="Where to listen.  [env var: IMGCTL_BIND_ADDRESS; default: 127.0.0.1:9999]",
)
@click.option("--tls-cert", metavar="FILE", help="Certificate chain.  [env var: IMGCTL_TLS_CERT]")
@click.option("--tls-key", metavar="FILE", help="Its private key.  [env var: IMGCTL_TLS_KEY]")
@click.option(
    "--tls-client-ca",
    metavar="FILE",
    help="Ask clients for a certificate of this authority.  [env var: IMGCTL_TLS_CLIENT_CA]",
)
@click.option(
    "--insecure-plaintext",
    is_flag=True,
    default=None,
    help="Listen without TLS on more than the loopback: TLS ends in front of us.  "
    "[env var: IMGCTL_INSECURE_PLAINTEXT]",
)
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar="IMGCTL_CONFIG",
    show_envvar=True,
    help="The settings file, TOML.",
)
@click.option("--check", is_flag=True, help="Check every setting and plugin, and exit.")
@click.option(
    "-l",
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error")),
    default="info",
    show_default=True,
    help="How much to log, on stderr.",
)
@verbose_option
def command(
    bind_address: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls_client_ca: str | None,
    insecure_plaintext: bool | None,
    config: Path | None,
    check: bool,
    log_level: str,
) -> int:
    """Run the imgctl server until it is told to stop.

    Every other setting comes from the environment or the settings file. SIGTERM lets
    running promotions end first.
    """
    # Pydantic, grpc and the plugins behind them: nothing of it for any other command.
    from imgctl_core.server.run import check_settings, serve
    from imgctl_core.settings import load_settings

    settings = load_settings(
        config=config,
        flags={
            "server.bind_address": bind_address,
            "server.tls_cert": tls_cert,
            "server.tls_key": tls_key,
            "server.tls_client_ca": tls_client_ca,
            "server.insecure_plaintext": insecure_plaintext,
        },
    )
    if check:
        for warning in check_settings(settings):
            click.echo(f"warning: {one_line(warning)}", err=True)
        click.echo("the settings are sound")
        return exits.OK
    logs.start(
        getattr(logging, log_level.upper()), "%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    return serve(settings)
