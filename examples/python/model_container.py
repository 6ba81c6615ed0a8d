#!/usr/bin/env python3
"""A model container in Python: connects a model to a query frontend, Clipper's or an engine's.

Needs Python 3.11 or newer, pyzmq and numpy. Put your own model in place of `Model`: what is drawn at random, read from the
clock or kept anywhere else is not the same on every node, nor at a replay.

The environment is that of Clipper's own containers:

    CLIPPER_MODEL_NAME     the name that it serves under             (echo-model)
    CLIPPER_MODEL_VERSION  the version that it serves as             (1)
    CLIPPER_INPUT_TYPE     bytes, ints, floats, doubles or strings   (strings)
    CLIPPER_IP             where the query frontend is               (127.0.0.1)
    CLIPPER_PORT           its port for containers                   (7000)
    BOAT_MODEL             echo or hash-chain                        (echo)

Each connection gets a fresh model and an identity of its own. After a break the old memory is gone, and Boat replays. A model
that raises ends the process, as with Clipper.
"""

import os
import secrets
import struct
import sys
import time

import numpy
import zmq

RPC_VERSION = 3
NEW_CONTAINER, CONTENT, HEARTBEAT = 0, 1, 2
REQUEST_METADATA = 1
TYPES = {"bytes": 0, "ints": 1, "integers": 1, "floats": 2, "doubles": 3, "strings": 4}
DTYPES = {0: numpy.int8, 1: numpy.int32, 2: numpy.float32, 3: numpy.float64}
HEARTBEAT_SECONDS = 5.0
SILENCE_SECONDS_MAX = 30.0
# The primes of FNV-1a with 64 bits.
FNV_OFFSET, FNV_PRIME, U64 = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


class Echo:
    """Answers each input with itself."""

    def predict(self, inputs):
        return [text(one) for one in inputs]


class HashChain:
    """Every output depends on all inputs so far: FNV-1a, which goes on from the last output."""

    def __init__(self):
        self.state = FNV_OFFSET

    def predict(self, inputs):
        return [self.step(one) for one in inputs]

    def step(self, one):
        for byte in one if isinstance(one, bytes) else one.tobytes():
            self.state = ((self.state ^ byte) * FNV_PRIME) & U64
        return f"0x{self.state:016x}"


MODELS = {"echo": Echo, "hash-chain": HashChain}


def text(one):
    return one.decode("utf-8") if isinstance(one, bytes) else str(one.tolist())


def word(value):
    return struct.pack("<I", value)


def parse_inputs(header, frames):
    """The inputs of a batch: strings as bytes, all others as numpy arrays."""
    input_type, count, *lengths = struct.unpack(f"<{len(header) // 8}Q", header)
    if count != len(frames) or lengths != [len(frame) for frame in frames]:
        raise ValueError("a header that does not tell the truth of the frames behind it")
    if input_type == TYPES["strings"]:
        return frames
    return [numpy.frombuffer(frame, dtype=DTYPES[input_type]) for frame in frames]


def response(message_id, outputs):
    outputs = [output.encode("utf-8") for output in outputs]
    header = struct.pack(f"<{len(outputs) + 1}Q", len(outputs), *map(len, outputs))
    return [b"", word(CONTENT), message_id, struct.pack("<Q", len(header)), header, *outputs]


def serve_one_connection(context, settings, model):
    """Serves until the frontend is silent for too long, or has forgotten this container."""
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    # A life of its own: whoever sees this name again knows that it is no fresh model.
    socket.setsockopt(zmq.IDENTITY, b"boat-" + secrets.token_hex(16).encode())
    socket.connect(f"tcp://{settings['ip']}:{settings['port']}")
    monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    poller = zmq.Poller()
    poller.register(socket, zmq.POLLIN)
    poller.register(monitor, zmq.POLLIN)
    try:
        socket.send_multipart([b"", word(HEARTBEAT)])
        heard = beaten = time.monotonic()
        is_registered = False
        while True:
            due = max(0.0, beaten + HEARTBEAT_SECONDS - time.monotonic())
            ready = dict(poller.poll(due * 1000))
            if monitor in ready:
                return "the connection broke"
            if socket not in ready:
                beaten = time.monotonic()
                if beaten - heard >= SILENCE_SECONDS_MAX:
                    return f"no word for {SILENCE_SECONDS_MAX:.0f} s"
                socket.send_multipart([b"", word(HEARTBEAT)])
                continue
            empty, version, kind, *rest = socket.recv_multipart()
            heard = time.monotonic()
            if empty != b"" or version != word(RPC_VERSION):
                return "the frontend speaks another version"
            if kind == word(HEARTBEAT) and rest == [word(REQUEST_METADATA)]:
                if is_registered:
                    return "the frontend has given this container up"
                is_registered = True
                socket.send_multipart([b"", word(NEW_CONTAINER), *settings["metadata"], word(RPC_VERSION)])
            elif kind == word(CONTENT):
                message_id, _, _, header, *frames = rest
                inputs = parse_inputs(header, frames)
                outputs = model.predict(inputs)
                if len(outputs) != len(inputs):
                    raise ValueError(f"{len(outputs)} outputs for {len(inputs)} inputs")
                socket.send_multipart(response(message_id, outputs))
    finally:
        socket.disable_monitor()
        monitor.close(0)
        socket.close(0)


def main():
    environment = os.environ.get
    input_type = TYPES[environment("CLIPPER_INPUT_TYPE", "strings")]
    name, version = environment("CLIPPER_MODEL_NAME", "echo-model"), environment("CLIPPER_MODEL_VERSION", "1")
    settings = {
        "ip": environment("CLIPPER_IP", "127.0.0.1"),
        "port": int(environment("CLIPPER_PORT", "7000")),
        "metadata": [name.encode(), version.encode(), str(input_type).encode()],
    }
    make = MODELS[environment("BOAT_MODEL", "echo")]
    context = zmq.Context()
    while True:
        why = serve_one_connection(context, settings, make())
        print(f"container: {why}; connecting again", file=sys.stderr, flush=True)
        time.sleep(0.2)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
