"""gRPC: channels, servers, errors and the generated wire contract.

Everything that imports grpc comes through this package, so that what grpc reads once is settled before it is loaded.
"""

import os

# Python's gRPC has no minimum TLS version. All certificates here are ECDSA, so that a TLS 1.2 cipher list that holds
# an RSA suite only leaves no TLS 1.2 handshake that could succeed (docs/adr/0005). gRPC reads it when it is loaded.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-RSA-AES256-GCM-SHA384"
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# The poller before the event engine answers a question in three quarters of the time (docs/adr/0009).
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")
