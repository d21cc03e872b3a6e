"""A replication connection in a few lines, so that base backups are had without pgagent and libpq.

Knows the protocol's messages that BASE_BACKUP and UPLOAD_MANIFEST need, over a Unix socket with
trust authentication.
"""

import io
import socket
import struct
import tarfile


class Refused(Exception):
    """The server's ErrorResponse: its fields by their letter."""

    def __init__(self, fields):
        super().__init__(fields.get("M", "?"))
        self.sqlstate = fields.get("C")


class Walsender:
    def __init__(self, server, user="postgres"):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(120)
        self.socket.connect(f"{server.sockets}/.s.PGSQL.{server.port}")
        self.input = self.socket.makefile("rb")
        body = struct.pack("!i", 196608)
        for name, value in (("user", user), ("replication", "true")):
            body += name.encode() + b"\0" + value.encode() + b"\0"
        body += b"\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.until(b"Z")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.input.close()
        self.socket.close()

    def send(self, kind, body=b""):
        self.socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def receive(self):
        kind = self.input.read(1)
        (length,) = struct.unpack("!i", self.input.read(4))
        body = self.input.read(length - 4)
        if kind == b"E":
            fields = {part[:1].decode(): part[1:].decode(errors="replace")
                      for part in body.split(b"\0") if part}
            raise Refused(fields)
        return kind, body

    def until(self, wanted):
        """Messages up to the first of that kind, without it."""
        seen = []
        while True:
            kind, body = self.receive()
            if kind == wanted:
                return seen
            seen.append((kind, body))

    def command(self, text):
        self.send(b"Q", text.encode() + b"\0")

    def upload_manifest(self, manifest):
        self.command("UPLOAD_MANIFEST")
        self.until(b"G")
        for at in range(0, len(manifest), 65536):
            self.send(b"d", manifest[at:at + 65536])
        self.send(b"c")
        self.until(b"Z")

    def base_backup(self, incremental=False):
        """({archive name: bytes}, manifest) of a backup with a fast checkpoint."""
        self.command("BASE_BACKUP (LABEL 'judge', CHECKPOINT 'fast', WAIT 0, TABLESPACE_MAP 1, "
                     f"MANIFEST 'yes'{', INCREMENTAL' if incremental else ''})")
        archives, current = {}, None
        for kind, body in self.until(b"Z"):
            if kind != b"d":
                continue
            if body[:1] == b"n":
                current = archives[body[1:body.index(b"\0")].decode()] = bytearray()
            elif body[:1] == b"m":
                current = archives["backup_manifest"] = bytearray()
            elif body[:1] == b"d":
                current += body[1:]
        return archives, bytes(archives.pop("backup_manifest"))


def members(archives):
    """{path in the data directory: bytes} of the plain files; directories are left out."""
    found = {}
    for name, data in archives.items():
        oid = name.removesuffix(".tar")
        root = "" if oid == "base" else f"pg_tblspc/{oid}/"
        with tarfile.open(fileobj=io.BytesIO(bytes(data))) as tar:
            for member in tar:
                if member.isfile():
                    path = root + member.name.removeprefix("./")
                    assert path not in found, path
                    found[path] = tar.extractfile(member).read()
    return found
