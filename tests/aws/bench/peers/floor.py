"""The least that fetching costs: the bytes over HTTP, hashed and dropped. Prints what it cost, without the start of Python."""

import hashlib
import json
import socket
import ssl
import sys
import time
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
begun = time.process_time()
connection = socket.create_connection((url.hostname, url.port))
if url.scheme == "https":
    connection = ssl.create_default_context().wrap_socket(connection, server_hostname=url.hostname)
connection.sendall(f"GET {url.path} HTTP/1.1\r\nhost: {url.netloc}\r\nconnection: close\r\n\r\n".encode())
buffer = bytearray(256 << 10)
view = memoryview(buffer)
head = b""
while b"\r\n\r\n" not in head:
    head += connection.recv(1)
digest, size = hashlib.sha256(), 0
while count := connection.recv_into(buffer):
    digest.update(view[:count])
    size += count
cpu = time.process_time() - begun
print(json.dumps({"cpu_s": cpu, "sha256": digest.hexdigest(), "size": size}))
