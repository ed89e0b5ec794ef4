"""Where the lender's own systems ask for signals: the table ``[signals]`` of node.toml."""

from pydantic import Field

from jointrisk.settings import Settings


class SignalSettings(Settings):
    """The port for the lender's own systems. The node's own commands don't need it."""

    listen: str = Field(
        "",
        pattern=r"^$|^.+:[0-9]{1,5}$",
        description="Where SignalService listens for the lender's own systems, host:port, over TLS with the node's "
        "member certificate; empty: nowhere. `jointrisk node access add` lets systems in.",
    )
    client_ca: str = Field(
        "",
        description="PEM file of the CAs, or of the self-signed certificates, of the lender's own systems. Where it is "
        "set every caller must present a certificate that it vouches for; empty: tokens alone.",
    )
