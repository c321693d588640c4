"""TVM's RPC server in this very process, for a machine where the server cannot start programs by their own name.

TVM starts its server as a second Python by `sys.executable`; under QEMU's user mode that is a file for another
processor. Run as `python -m edgeml.runtime.emulated.rpc_server PORT TRACKER_PORT KEY` (tracker port 0: none). It
listens on this machine's own address only, prints {"port": N} when it is ready, and ends when its stdin is closed.
"""

from __future__ import annotations

import json
import os
import signal
import sys

_ADDRESS = "127.0.0.1"
_PORTS_TRIED = 100


def main() -> None:
    """Serve until stdin is closed."""
    from edgeml.runtime.tvm.library import import_tvm_ffi

    import_tvm_ffi()
    from tvm.rpc.server import PopenRPCServerState

    port, tracker_port = int(sys.argv[1]), int(sys.argv[2])
    # The server forks a process for each connection; as a group they can be ended together.
    os.setpgid(0, 0)
    state = PopenRPCServerState(
        _ADDRESS,
        port,
        port + _PORTS_TRIED,
        tracker_addr=(_ADDRESS, tracker_port) if tracker_port else None,
        key=sys.argv[3],
        custom_addr=_ADDRESS,
        silent=True,
    )
    sys.stdout.write(json.dumps({"port": state.port}) + "\n")
    sys.stdout.flush()
    # Not sys.stdin.read(): its lock would be held for ever in the processes forked meanwhile, which close their stdin.
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
