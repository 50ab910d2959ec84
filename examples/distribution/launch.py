"""Starts a script in several processes of this machine that find each other, as a cluster or `torchrun` does.

python examples/distribution/launch.py 2 examples/distribution/torch_processes.py

Each process is told who it is, as `torch.distributed` (RANK, ...) and `tf.distribute` (TF_CONFIG) expect it. Everything
stays on the loopback interface. When one fails, or the time is over, all are ended.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

SECONDS = int(os.environ.get("LAUNCH_SECONDS", "600"))


def free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def environments(number):
    """What tells each process who it is."""
    ports = free_ports(number + 1)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports[1:]]}
    torch = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(ports[0]),
        "WORLD_SIZE": str(number),
        "OMP_NUM_THREADS": "1",
    }
    for rank in range(number):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": rank}})
        yield {**os.environ, **torch, "RANK": str(rank), "LOCAL_RANK": str(rank), "TF_CONFIG": config}


def launch(number, arguments, seconds=SECONDS, **settings):
    """Runs Python with `arguments` in so many processes; returns 0 if all succeed.

    Args:
        number: How many.
        arguments: A script and its arguments.
        seconds: How long they may take.
        **settings: For `subprocess.Popen`.
    """
    processes = [
        subprocess.Popen([sys.executable, *arguments], env=environment, **settings)
        for environment in environments(number)
    ]
    end = time.monotonic() + seconds
    try:
        while any(process.poll() is None for process in processes) and time.monotonic() < end:
            if any(process.poll() for process in processes):
                break
            time.sleep(0.05)
        return 0 if all(process.poll() == 0 for process in processes) else 1
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the others are ended then, too
    sys.exit(launch(int(sys.argv[1]), sys.argv[2:]))
