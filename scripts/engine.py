"""A model engine for the local stack: llama.cpp's own server, OpenAI-compatible, in one process.

Usage: engine.py MODEL.gguf ALIAS PORT [PARALLEL]

It listens on 127.0.0.1 and runs until it is ended. Any other OpenAI-compatible server (vLLM, SGLang)
can stand in its place: `scripts/up --model URL`.
"""

import os
import signal
import sys
import threading

import xllamacpp

CONTEXT_TOKENS_EACH = 4096


def main() -> None:
    model, alias, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    parallel = int(sys.argv[4]) if len(sys.argv) > 4 else 2

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {alias}
    params.n_ctx = CONTEXT_TOKENS_EACH * parallel
    params.n_parallel = parallel
    params.cpuparams.n_threads = max(1, os.cpu_count() or 1)
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.ui = False

    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())

    server = xllamacpp.Server(params)
    print(f"engine: {alias} on {server.listening_address}", flush=True)
    stop.wait()
    # The server's own threads need no care: nothing is kept on disk.
    os._exit(0)


main()
