# SPDX-License-Identifier: GPL-2.0
"""Runs in the guest: executes what the host asks for over a virtio-serial port.

One JSON object a line. From the host:
    {"id": 7, "run": "<shell script>"}          start a shell with this script
    {"id": 7, "kill": 15}                       signal what 7 started
    {"id": 8, "put": "<path>", "mode": 493, "data": "<base64>"}
To the host:
    {"ready": true}                             once
    {"id": 7, "out": "<text>"}                  output as it comes
    {"id": 7, "rc": 0}                          the end of 7

Every script has a process group and a thread of its own, so that many may run at once.
"""

import base64
import codecs
import json
import os
import signal
import subprocess
import threading

PORT = "/dev/virtio-ports/agent"


class Agent:
    def __init__(self):
        self.port = os.open(PORT, os.O_RDWR)
        self.sending = threading.Lock()
        self.running = {}

    def send(self, **message):
        data = (json.dumps(message) + "\n").encode()
        with self.sending:
            while data:
                data = data[os.write(self.port, data):]

    def run(self, id, script):
        child = subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.DEVNULL, cwd="/root",
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 start_new_session=True)
        self.running[id] = child
        threading.Thread(target=self.follow, args=(id, child), daemon=True).start()

    def follow(self, id, child):
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while chunk := os.read(child.stdout.fileno(), 32768):
            self.send(id=id, out=decoder.decode(chunk))
        rc = child.wait()
        del self.running[id]
        # As a shell says it: 128 and the signal's number.
        self.send(id=id, rc=rc if rc >= 0 else 128 - rc)

    def put(self, id, path, mode, data):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))
        os.chmod(path, mode)
        self.send(id=id, rc=0)

    def handle(self, m):
        if "run" in m:
            self.run(m["id"], m["run"])
        elif "kill" in m:
            child = self.running.get(m["id"])
            if child is not None:
                os.killpg(child.pid, m["kill"])
        elif "put" in m:
            self.put(m["id"], m["put"], m["mode"], m["data"])

    def serve(self):
        self.send(ready=True)
        rest = b""
        while chunk := os.read(self.port, 65536):
            rest += chunk
            *lines, rest = rest.split(b"\n")
            for line in lines:
                self.handle(json.loads(line))


signal.signal(signal.SIGPIPE, signal.SIG_DFL)
Agent().serve()
