"""What private set intersection by the package ``openmined-psi`` takes, in a process with a protobuf of its own.

Prints the microseconds of processor time for an item: of the server's set-up, and of all that follows (the client's
request, the server's answer, the client's intersection). Both sets are the same size, and half of them are common.
"""

import json
import sys
import time
from importlib import import_module

_FALSE_POSITIVES = 1e-9


def main(items: int) -> None:
    """Measure one intersection."""
    psi = import_module("private_set_intersection.python")
    client, server = psi.client.CreateWithNewKey(True), psi.server.CreateWithNewKey(True)
    asked = [f"resident ID {number}" for number in range(items)]
    listed = [f"resident ID {number}" for number in range(items // 2, items + items // 2)]
    began = time.process_time()
    setup = server.CreateSetupMessage(_FALSE_POSITIVES, items, listed)
    ready = time.process_time()
    found = client.GetIntersection(setup, server.ProcessRequest(client.CreateRequest(asked)))
    ended = time.process_time()
    if len(found) != items // 2:
        raise RuntimeError(f"expected {items // 2} common items, got {len(found)}")
    sys.stdout.write(json.dumps({"setup": (ready - began) / items * 1e6, "query": (ended - ready) / items * 1e6}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
