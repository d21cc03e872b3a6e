#!/usr/bin/env python3
"""Reads a pgagent repository of format 1 without pgagent: an independent decoder, written from FORMAT.md.

    python3 reader.py REPOSITORY [SECRET] [--cluster NAME] list
    python3 reader.py REPOSITORY [SECRET] [--cluster NAME] restore BACKUP DIR [--no-wal] [--tablespace OID=DIR]...
    python3 reader.py REPOSITORY [SECRET] [--cluster NAME] wal FILE DEST

SECRET is --key-file F, --passphrase-file F or --recovery-code-file F (`-` reads a line from standard input); none is needed
where nothing is encrypted. REPOSITORY is a directory; copy a bucket to one. Needs Python 3.9, the command zstd and, for what is
encrypted, the package cryptography (Debian: python3-cryptography).

`restore` makes a data directory, with the WAL that the backup needs; PostgreSQL of the same major version starts from it. To go
on from there, put recovery.signal beside it and restore_command = 'python3 ABSOLUTE/reader.py REPOSITORY SECRET wal %f %p'.
All that is read is checked: slots by digest, records by HMAC, objects by commitment and tags, pages by tag and CRC, files by
CRC. Exit codes: 0 done, 1 failed, 2 usage, 3 no such backup, 4 damaged or another key; of `wal` 0, 1 proven absent, 200 else."""
import argparse, collections, hashlib, hmac, multiprocessing, os, re, struct, subprocess, sys, time

PAGE, SHARD = 8192, 16 << 20
PACK, MANIFEST, SEGMENT, SLICE, SMALL, PARTIAL = range(1, 7)                                # classes of objects
DIRECTORY, SUMMARY, TABLE, ROOT, SECTION, MAP, PAGES, WAL_HEAD, WAL_BYTES = range(1, 10)    # classes of frames
Ref = collections.namedtuple("Ref", "attempt seq ordinal offset stored plain")              # of a frame, absolute

class Stop(Exception):
    """(exit code, what is wrong)."""

def need(condition, what):
    if not condition:
        raise Stop(4, what)

# CRC-32C. Many pages go column by column: byte j of all pages is one number, the tables are applied by translate().
CRC = list(range(256))
for _ in range(8):
    CRC = [c >> 1 ^ (0x82F63B78 if c & 1 else 0) for c in CRC]
CRC_BYTE = [bytes(c >> 8 * k & 255 for c in CRC) for k in range(4)]

def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = CRC[(c ^ b) & 255] ^ c >> 8
    return c ^ 0xFFFFFFFF

def crc32c_pages(data):
    n, number = len(data) // PAGE, int.from_bytes
    if n < 16:
        return [crc32c(data[i * PAGE:(i + 1) * PAGE]) for i in range(n)]
    p0 = p1 = p2 = p3 = (1 << 8 * n) - 1
    for j in range(PAGE):
        i = (p0 ^ number(data[j::PAGE], "little")).to_bytes(n, "little")
        p0, p1, p2, p3 = (p1 ^ number(i.translate(CRC_BYTE[0]), "little"), p2 ^ number(i.translate(CRC_BYTE[1]), "little"),
                          p3 ^ number(i.translate(CRC_BYTE[2]), "little"), number(i.translate(CRC_BYTE[3]), "little"))
    return [number(bytes(q), "little") ^ 0xFFFFFFFF for q in zip(*(p.to_bytes(n, "little") for p in (p0, p1, p2, p3)))]

def crc_apply(columns, c):
    out = 0
    for i in range(32):
        out ^= columns[i] if c >> i & 1 else 0
    return out
CRC_ZEROS = [[CRC[1 << i] if i < 8 else 1 << i - 8 for i in range(32)]]         # [k]: 2^k bytes of zeros follow
for _ in range(40):
    CRC_ZEROS.append([crc_apply(CRC_ZEROS[-1], c) for c in CRC_ZEROS[-1]])
def crc_join(first, second, length):
    """The CRC of two pieces, the second of `length` bytes; that of no bytes is 0."""
    for k in range(length.bit_length()):
        first = crc_apply(CRC_ZEROS[k], first) if length >> k & 1 else first
    return first ^ second
CRC_ZERO_PAGE = crc32c(bytes(PAGE))

def hkdf(key, salt, info, length):
    prk, out = hmac.digest(salt, key, "sha256"), b""
    for i in range(1, length // 32 + 1):
        out += hmac.digest(prk, out[-32:] + info + bytes([i]), "sha256")
    return out

def gcm(key):
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise Stop(1, "encrypted: install the Python package cryptography (Debian: python3-cryptography)") from None
    return AESGCM(key)

def gcm_open(cipher, nonce, sealed, aad, what):
    try:
        return cipher.decrypt(nonce, sealed, aad)
    except Exception:
        raise Stop(4, f"{what} is damaged: its authentication tag does not fit") from None

def lines(text, what):
    """NAME VALUE lines: {NAME: [VALUE, ...]}."""
    out = collections.defaultdict(list)
    need(not text or text.endswith(b"\n"), f"{what} does not end with a line")
    for name, _, value in (line.partition(" ") for line in os.fsdecode(text).split("\n")[:-1]):
        out[name].append(re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value))
    return out

def table(form, data, at):
    """u16 n, then n entries; and where they end."""
    end = at + 2 + struct.unpack_from("<H", data, at)[0] * struct.calcsize(form)
    return list(struct.iter_unpack(form, data[at + 2:end])), end

def unzstd(frames, what):
    """The plain bytes of authenticated frames (codec, plain length, payload), by one process for all of them."""
    packed, out, at = [f for f in frames if f[0] == 1], [], 0
    try:
        run = packed and subprocess.run(["zstd", "-dcq"], input=b"".join(f[2] for f in packed), capture_output=True)
    except FileNotFoundError:
        raise Stop(1, "the command zstd is not here: install it") from None
    need(not packed or run.returncode == 0 and len(run.stdout) == sum(f[1] for f in packed), f"{what}: bad zstd frame")
    for codec, plain, payload in frames:
        need(codec == 1 or codec == 0 and len(payload) == plain, f"{what}: unknown codec")
        out.append(run.stdout[at:at + plain] if codec else payload)
        at += plain if codec else 0
    return out

class Object:
    """A sealed object: header, trailer and directory are checked at once, frames when they are read."""
    def __init__(self, repo, key, kind):
        self.repo, self.key, self.kind, path = repo, key, kind, os.path.join(repo.root, key)
        need(os.path.isfile(path), f"{key} is missing")
        self.file, size = open(path, "rb"), os.path.getsize(path)
        raw = self.read(0, 128)
        magic, *what, epoch, rid, oid, salt, commitment, zeros, crc = struct.unpack("<8s4BI16s16s32s32s12sI", raw)
        need(magic == b"PGAGENT1" and crc == crc32c(raw[:124]), f"{key}: the header is damaged")
        self.id = hashlib.sha256(b"pgagent/1/object-id\0" + key.encode()).digest()[:16]
        need((what, rid, oid, zeros) == ([kind, repo.encrypted, 0, 0], repo.id, self.id, bytes(12)),
             f"{key}: this is another object")
        secret = hkdf(repo.class_key(kind, epoch, key), salt, b"pgagent/1/object" + bytes([kind]) + rid + oid, 64)
        need(hmac.compare_digest(secret[32:], commitment), f"{key} is sealed with another key")
        self.cipher = gcm(secret[:32]) if repo.encrypted else secret[:32]
        raw = self.read(size - 32, 32)
        magic, offset, length, count, zero, crc = struct.unpack("<8sQIIII", raw)
        need(magic == b"PGAEND01" and crc == crc32c(raw[:28]) and not zero and offset + length + 32 == size
             and 48 < length <= 1 << 21 and count, f"{key}: the trailer is damaged")
        plain, at = unzstd([self.frame(DIRECTORY, count - 1, offset, length - 48)], key)[0], 128
        need(len(plain) == 4 + 20 * (count - 1) and plain[:4] == struct.pack("<I", count - 1), f"{key}: bad directory")
        self.directory = list(struct.iter_unpack("<QIIBBH", plain[4:]))
        for entry in self.directory:
            need(entry[0] == at, f"{key}: bad directory")
            at += entry[1] + 48
        need(at == offset, f"{key}: bad directory")

    def read(self, offset, length):
        data = os.pread(self.file.fileno(), length, offset) if offset >= 0 else b""
        need(len(data) == length, f"{self.key} is cut off")
        return data

    def frame(self, cls, ordinal, offset, stored, plain=None):
        """(codec, plain length, payload), authenticated."""
        raw, what = self.read(offset, stored + 48), f"{self.key}: frame {ordinal}"
        magic, c, codec, zero, o, p, s, zeros, crc = struct.unpack("<4sBBHIIIQI", raw[:32])
        need(magic == b"PGFR" and crc == crc32c(raw[:28]), f"{what}: the header is damaged")
        need((c, o, s, p, zero, zeros) == (cls, ordinal, stored, plain or p, 0, 0) and s <= p <= 1 << 20,
             f"{what} is not the one asked for")
        aad = b"PGA1" + self.repo.id + bytes([self.kind]) + self.id + raw[:28]
        if self.repo.encrypted:
            nonce = bytes([cls, 0, 0, 0]) + ordinal.to_bytes(8, "big")
            return codec, p, gcm_open(self.cipher, nonce, raw[32:], aad, what)
        tag = hmac.digest(self.cipher, aad + raw[32:-16], "sha256")[:16]
        need(hmac.compare_digest(tag, raw[-16:]), f"{what} is damaged: its authentication tag does not fit")
        return codec, p, raw[32:-16]

    def frames(self):
        """All in order: (class, plain bytes)."""
        for i in range(0, len(self.directory), 256):
            part = [(e[3], self.frame(e[3], i + n, *e[:3])) for n, e in enumerate(self.directory[i:i + 256])]
            yield from zip((p[0] for p in part), unzstd([p[1] for p in part], self.key))

class Repository:
    def __init__(self, root, secret):
        self.root, self.encrypted = root, 0
        head = lines(self.text("FORMAT"), "FORMAT")
        if (head["pgagent-record"], head["format"], head["requires"]) != (["format 1"], ["1"], ["-"]):
            raise Stop(1, f"{root}: FORMAT says that this is not a repository of format 1 without further features")
        need(re.fullmatch("[0-9a-f]{32}", "".join(head["repository"])), "FORMAT is damaged")
        self.id, self.encrypted = bytes.fromhex(head["repository"][0]), int(head["encryption"] != ["none"])
        keys = self.key_set(secret)
        need(keys[:24] == b"PGAKEYS1" + self.id and len(keys) > 60 and not (len(keys) - 60) % 36, "the key set is damaged")
        self.roots = dict(struct.iter_unpack("<I32s", keys[60:]))
        self.k_clear = hkdf(keys[24:56], self.id, b"pgagent/1/clear-records", 32)
        self.k_tag = hkdf(keys[24:56], self.id, b"pgagent/1/page-tag", 32)
        self.gmac = gcm(self.k_tag) if head["page-tag"] == ["gmac"] else None
        self.record("FORMAT", "format")

    def text(self, key):
        with open(os.path.join(self.root, key), "rb") as file:
            return file.read(65537)

    def names(self, *parts):
        path = os.path.join(self.root, *parts)
        return sorted(n for n in os.listdir(path) if n[0] != ".") if os.path.isdir(path) else []

    def key_set(self, secret):
        others = []
        for name in self.names("keys"):
            raw = self.text("keys/" + name)
            body, _, digest = raw.rpartition(b"digest ")
            if hashlib.sha256(body).hexdigest().encode() + b"\n" != digest:
                others.append(name + " (damaged)")
                continue
            slot = {name: values[0] for name, values in lines(raw, name).items()}
            kind, salt, sealed = int(slot["type"]), bytes.fromhex(slot["salt"]), bytes.fromhex(slot["sealed"])
            others.append(f"{name} ({('clear', 'key file', 'passphrase', 'recovery code', 'recipient')[kind]})")
            if kind == 0 and not self.encrypted:
                return sealed
            if secret and secret[0] == kind:
                material = secret[1]
                if kind == 2:
                    n, r, p = map(int, slot["scrypt"].split())
                    need(n <= 1 << 20 and r == 8 and p <= 4, f"{name}: scrypt asks for too much")
                    material = hashlib.scrypt(material, salt=salt, n=n, r=r, p=p, maxmem=(1 << 31) - 1, dklen=32)
                kek = hkdf(material, salt, b"pgagent/1/slot" + bytes([kind]) + self.id, 64)
                if kek[32:].hex() == slot["commitment"]:
                    return gcm_open(gcm(kek[:32]), bytes(12), sealed, raw[:raw.rindex(b"\nsealed ") + 1], name)
        raise Stop(4, f"the secret {'opens none' if secret else 'is missing'}; slots: {', '.join(others)}")

    def record(self, key, kind):
        body, _, mac = (raw := self.text(key)).rpartition(b"hmac ")
        want = hmac.new(self.k_clear, b"pgagent/1/record\0" + key.encode() + b"\0" + body, "sha256").hexdigest()
        need(hmac.compare_digest(want.encode() + b"\n", mac), f"{key} is damaged or was moved: its HMAC does not fit")
        record = lines(raw, key)
        need(record["pgagent-record"] == [kind + " 1"], f"{key} is not a record of type {kind}")
        return record

    def class_key(self, kind, epoch, key):
        need(epoch in self.roots, f"{key}: the slot does not hold the key of epoch {epoch}")
        name = b"data" if kind == PACK else b"wal" if SEGMENT <= kind <= PARTIAL else b"meta"
        return hkdf(self.roots[epoch], self.id, b"pgagent/1/class/" + name + struct.pack("<I", epoch), 32)

    def page_tag(self, page):
        page += len(page).to_bytes(8, "little")
        return self.gmac.encrypt(bytes(12), b"", page) if self.gmac else hmac.digest(self.k_tag, page, "sha256")[:16]

    def places(self, cluster):
        """CLUSTER/SYSTEM of one cluster or of all."""
        clusters = [cluster] if cluster else [n for n in self.names() if n not in ("FORMAT", "docs", "keys", "probe")]
        found = [f"{c}/{system}" for c in clusters for system in self.names(c) if system.isdigit()]
        for place in found:
            self.record(place + "/identity", "identity")
        return found

    def backups(self, place):
        """(attempt, Backup, or the Stop that says what is wrong with it); aborted attempts are none."""
        for attempt in self.names(place, "backups"):
            try:
                if self.text(key := f"{place}/backups/{attempt}")[:8] == b"pgagent-":
                    self.record(key, "abort")
                else:
                    yield attempt, Backup(self, place, attempt)
            except Stop as why:
                yield attempt, why

    def marks(self, place):
        """What records say of attempts: {attempt: {word, ...}}."""
        out = collections.defaultdict(set)
        for folder, kind, word, end in (("tombs", "tomb", "deleted", ""), ("hidden", "hidden", "hidden", "end"),
                                        ("keeps", "keep", "kept", "off")):
            for name in (names := self.names(place, folder)):
                ended = end and name.endswith("." + end)
                record = self.record(f"{place}/{folder}/{name}", f"{kind}-{end}" if ended else kind)
                if not ended and f"{name}.{end}" not in names:
                    out[record["attempt"][0]].add(word)
        return out

    def wal_content(self, key, kind, name):
        frames = Object(self, key, kind).frames()
        head, content = lines(next(frames)[1], key), b"".join(plain for _, plain in frames)
        need((head["name"], head["bytes"], head["sha256"]) == ([name], [str(len(content))], [hashlib.sha256(content).hexdigest()]),
             f"{key}: the content is not what its head says")
        return content, int((head["segment-bytes"] or ["0"])[0])

    def wal(self, place, name):
        """A file of pg_wal, where need be joined from slices and padded; None if it is not here."""
        below = f"{place}/wal" + ("" if name.endswith(".history") else f"/{name[:8]}/{name[8:16]}")
        kind = {"history": SMALL, "backup": SMALL, "partial": PARTIAL}.get(name.rpartition(".")[2], SEGMENT)
        if os.path.exists(os.path.join(self.root, below, name)):
            return self.wal_content(f"{below}/{name}", kind, name)[0]
        content, size = b"", 0
        for one in self.names(below):
            at = re.fullmatch(re.escape(name) + r"\.([0-9A-F]{8})-([0-9A-F]{8})", one)
            if at and (start := int(at[1], 16)) <= len(content) < (stop := int(at[2], 16)):
                piece, size = self.wal_content(f"{below}/{one}", SLICE, name)
                need(len(piece) == stop - start, f"{below}/{one} has another length")
                content = content[:start] + piece
        return content + bytes(size - len(content)) if content else None

class Backup:
    def __init__(self, repo, place, attempt):
        self.repo, self.place, self.key, self.opened, self.kept = repo, place, f"{place}/backups/{attempt}", {}, {}
        frames = list(Object(repo, self.key, MANIFEST).frames())
        summary, root = ([plain for c, plain in frames if c == cls] for cls in (SUMMARY, ROOT))
        need(len(summary) == len(root) == 1, f"{self.key} is not a manifest")
        head = lines(summary[0], self.key)
        self.summary = {name: values[-1] for name, values in head.items()}
        self.tablespaces = [t.split(" ", 1) for t in head["tablespace"]]
        need(self.summary["attempt"] == attempt, f"{self.key} is another manifest")
        self.packs = list(struct.iter_unpack("<16sIIQQ32s", b"".join(plain for c, plain in frames if c == TABLE)))
        self.sections, root, at = {}, root[0], 4
        for _ in range(struct.unpack_from("<I", root)[0]):
            name = root[at + 2:(at := at + 2 + struct.unpack_from("<H", root, at)[0])].decode()
            size, n = struct.unpack_from("<QI", root, at)
            self.sections[name] = size, [self.ref(root, at + 12 + 24 * i) for i in range(n)]
            at += 12 + 24 * n

    def ref(self, data, at):
        pack, *rest = struct.unpack_from("<IIQII", data, at)
        need(pack < len(self.packs), f"{self.key}: no such pack in the table")
        return Ref(*self.packs[pack][:2], *rest)

    def pack_key(self, attempt, seq):
        text = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(int.from_bytes(attempt[:8], "little")))
        return f"{self.place}/packs/{text}-{attempt[8:].hex()}/{seq:08d}"

    def frames(self, refs, cls):
        """(reference, plain bytes) of frames in packs; 256 at a time are in memory."""
        for some in (refs[i:i + 256] for i in range(0, len(refs), 256)):
            got = []
            for r in some:
                if len(self.opened) > 200:
                    self.opened.clear()
                key = self.pack_key(r.attempt, r.seq)
                pack = self.opened[key] = self.opened.get(key) or Object(self.repo, key, PACK)
                need(r.ordinal < len(pack.directory) and pack.directory[r.ordinal][:4] == (r.offset, r.stored, r.plain, cls),
                     f"{key}: the directory knows no such frame {r.ordinal}")
                got.append(pack.frame(cls, *r[2:]))
            yield from zip(some, unzstd(got, self.key))

    def section(self, name):
        size, refs = self.sections.get(name, (0, []))
        for _, plain in self.frames(refs, SECTION):
            size -= len(plain)
            yield plain
        need(size == 0, f"{self.key}: section {name} has another length")

    def files(self):
        """The file table: (path, type, mode, size, mtime, CRC, target, shard references)."""
        for data in self.section("files"):
            at = 0
            while at < len(data):
                length, kind, _, mode, size, mtime, crc = struct.unpack_from("<IBBHQqI", data, at)
                path, here = data[at + 30:(here := at + 30 + struct.unpack_from("<H", data, at + 28)[0])], here
                target = data[here + 2:(here := here + 2 + struct.unpack_from("<H", data, here)[0])]
                n, path, at = struct.unpack_from("<I", data, here)[0], os.fsdecode(path), at + length
                need(n == (-(-size // SHARD) if kind == 1 else 0) and here + 4 + 32 * n == at
                     and not {"", ".", ".."} & set(path.split("/")), f"{self.key}: bad record of {path!r}")
                yield path, kind, mode, size, mtime, crc, os.fsdecode(target), [
                    (self.ref(data, i), *struct.unpack_from("<II", data, i + 24)) for i in range(here + 4, at, 32)]

    def shards(self, wanted):
        """{(frame, offset, length): the bytes of the shard}; the frames are kept for the next call."""
        frames = {w[0] for w in wanted}
        self.kept = {r: self.kept[r] for r in frames if r in self.kept}
        self.kept.update(self.frames(sorted(frames - self.kept.keys()), MAP))
        return {w: self.kept[w[0]][w[1]:w[1] + w[2]] for w in wanted}

def patch_base(shard):
    attempt, seq, ordinal, offset, stored, plain, at, length = struct.unpack_from("<16sIIQIIII", shard, 8)
    return Ref(attempt, seq, ordinal, offset, stored, plain), at, length

def decode_shard(data, bases, what):
    """([(frame or None for zeros, offset, tag, CRC) of each page], bytes in the last page)."""
    kind, zero, count, last = struct.unpack_from("<BBHI", data)
    need(kind in (1, 2) and not zero and 1 <= count <= 2048 and 1 <= last <= PAGE, f"{what}: bad shard")
    pages, at, here = [None] * count, 8, 0
    if kind == 2:
        need(bases and bases[patch_base(data)][0] == 1, f"{what}: a patch over a patch")
        pages, at = decode_shard(bases[patch_base(data)], None, what)[0][:count], 56
        pages += [(None, 0, b"", 0)] * (count - len(pages))
    packs, at = table("<16sI", data, at)
    frames, at = table("<HHIQII", data, at)
    runs, at = table("<HHI" if kind == 1 else "<HHHHI", data, at)
    for *first, n, frame, offset in (run if kind == 1 else (run[0], run[1], run[2], run[4]) for run in runs):
        need(here <= (here := first[0] if first else here) and here + n <= count, f"{what}: bad runs")
        for here in range(here + 1, here + n + 1):
            zeros = frame == 65535
            pages[here - 1] = (None, 0, b"", 0) if zeros else (Ref(*packs[frames[frame][0]], *frames[frame][2:]), offset,
                                                               *struct.unpack_from("<16sI", data, at))
            at, offset = at + (0 if zeros else 20), offset + PAGE
    need(at == len(data) and None not in pages, f"{what}: bad shard")
    return pages, last

def write_shards(batch):
    """Checks and writes shards [(place on disk, path, number, reference)]: [(place, CRC, length) of each]."""
    windows, wanted, out = [], collections.defaultdict(list), []
    shards = backup.shards([s[3] for s in batch])
    bases = backup.shards([patch_base(s) for s in shards.values() if s[0] == 2])
    for _, path, _, reference in batch:
        pages, last = decode_shard(shards[reference], bases, path)
        windows.append((window := bytearray((len(pages) - 1) * PAGE + last), pages))
        for i, (frame, offset, _, _) in enumerate(pages):
            if frame:
                wanted[frame].append((window, i * PAGE, min(PAGE, len(window) - i * PAGE), offset))
    for frame, plain in backup.frames(sorted(wanted), PAGES):
        for window, at, length, offset in wanted[frame]:
            need(offset + length <= len(plain), f"{backup.key}: a page beyond its frame's end")
            window[at:at + length] = plain[offset:offset + length]
    crcs = iter(crc32c_pages(b"".join(w[i * PAGE:(i + 1) * PAGE] for w, p in windows for i in range(len(w) // PAGE) if p[i][0])))
    for (place, path, number, _), (window, pages) in zip(batch, windows):
        total = 0
        with open(place, "r+b") as file:
            for i, (frame, _, tag, crc) in enumerate(pages):
                page = bytes(window[i * PAGE:(i + 1) * PAGE])
                if frame:
                    real = next(crcs) if len(page) == PAGE else crc32c(page)
                    need(real == crc and backup.repo.page_tag(page) == tag, f"{path}: page {number * 2048 + i} is damaged")
                    file.seek(number * SHARD + i * PAGE)        # zeros stay holes
                    file.write(page)
                else:
                    crc = CRC_ZERO_PAGE if len(page) == PAGE else crc32c(page)
                total = crc_join(total, crc, len(page))
        out.append((place, total, len(window)))
    return out

def command_list(repo, args):
    code = 0
    for place in repo.places(args.cluster):
        marks = repo.marks(place)
        print(place)
        for attempt, one in repo.backups(place):
            if isinstance(one, Stop):
                print(f"  {attempt}  DAMAGED: {one.args[1]}")
                code = 4
                continue
            s = one.summary
            print(f"  {attempt}  {s['type']}", f"PostgreSQL {int(s['server-version']) // 10000}", s["finished"],
                  f"timeline {s['timeline']}", f"{s['start-lsn']} to {s['stop-lsn']}", f"{s['bytes-cluster']} bytes",
                  *sorted(marks[attempt]), repr(s["label"]) if s.get("label") else "no label", sep=", ")
    return code

def wal_needed(repo):
    """(name, content) of history files and of the segments from start to stop."""
    s, size = backup.summary, int(backup.summary["wal-segment-bytes"])
    start, stop = (int(a, 16) << 32 | int(b, 16) for a, b in (s[k].split("/") for k in ("start-lsn", "stop-lsn")))
    timelines = [f"{t:08X}" for t in range(int(s["timeline"]), int(s.get("stop-timeline", s["timeline"])) + 1)]
    yield from ((f"{t}.history", repo.wal(backup.place, f"{t}.history")) for t in timelines)
    for number in range(start // size, (stop - 1) // size + 1):
        names = ["%s%08X%08X" % (t, *divmod(number, (1 << 32) // size)) for t in timelines]
        found = [(name, content) for name in names if (content := repo.wal(backup.place, name))]
        need(found, f"WAL segment {names[0]}, which the backup needs, is not in the repository")
        yield from found

def put(path, content):
    with open(path, "xb") as file:
        file.write(content)

def command_restore(repo, args):
    global backup
    found = [one for place in repo.places(args.cluster) for attempt, one in repo.backups(place) if attempt == args.backup]
    if not found or isinstance(found[0], Stop):
        raise found[0] if found else Stop(3, f"there is no backup {args.backup} in {repo.root}")
    backup, moved, homes = found[0], dict(t.split("=", 1) for t in args.tablespace), {args.dir: args.dir}
    for pack in backup.packs:
        path = os.path.join(repo.root, backup.pack_key(*pack[:2]))
        need(os.path.exists(path) and os.path.getsize(path) == pack[3], f"{path} is missing or has another length")
    for oid, path in backup.tablespaces:
        homes[os.path.join(args.dir, "pg_tblspc", oid)] = os.path.abspath(moved.pop(oid, path))
    for home in homes.values():
        if moved or os.path.exists(home) and os.listdir(home):
            raise Stop(1, f"there are no tablespaces {list(moved)}" if moved else f"{home} is not empty")
    try:
        write_backup(repo, args, homes)
    except BaseException:
        print(f"reader.py: {args.dir} is incomplete: remove it, and begin anew", file=sys.stderr)
        raise
    print(f"{args.backup} is in {args.dir}. Before you start it: does it archive to where the original did (archive_command)? "
          "Where the configuration lay elsewhere, it is in *.from-backup.")
    return 0

def write_backup(repo, args, homes):
    """pg_control comes last: until it is whole, PostgreSQL refuses to start what is there."""
    files, last, made, links = {}, [], [], []
    def shards():
        for path, kind, mode, size, mtime, crc, target, references in backup.files():
            place = os.path.join(args.dir, path)
            os.makedirs(place if kind == 2 else os.path.dirname(place), 0o700, exist_ok=True)
            if kind == 1:
                put(place, b"")
                files[place] = [path, size, crc, 0, 0]
            if kind == 3:
                links.append((place, target))
            else:
                made.append((place, mode, mtime))
            for number, reference in enumerate(references):
                yield place, path, number, reference
    def batches():
        """32 MiB or 1000 shards at a time."""
        batch, size = [], 0
        for shard in shards():
            (last if shard[1] == "global/pg_control" else batch).append(shard)
            size += min(SHARD, files[shard[0]][1])
            if size >= 2 * SHARD or len(batch) >= 1000:
                yield batch
                batch, size = [], 0
        yield batch
    def done(results):
        for place, crc, length in results:
            files[place][3:] = crc_join(files[place][3], crc, length), files[place][4] + length
    for link, home in homes.items():
        os.makedirs(home, 0o700, exist_ok=True)
        if link != home:
            os.makedirs(os.path.dirname(link), 0o700, exist_ok=True)
            os.symlink(home, link)
    with multiprocessing.get_context("fork").Pool(min(8, os.cpu_count() or 1)) as pool:
        for results in pool.imap(write_shards, batches()):
            done(results)
    for place, target in links:
        if place not in homes:
            os.symlink(target, place)
    for place, (path, size, crc, *_) in files.items():      # whole pages of zeros at the end were not written
        os.truncate(place, size if path != "global/pg_control" else 0)
    for path, name in (("backup_manifest", "server-manifest"), ("postgresql.conf.from-backup", "conf"),
                       ("pg_hba.conf.from-backup", "hba"), ("pg_ident.conf.from-backup", "ident")):
        if name in backup.sections and os.path.join(args.dir, path.replace(".from-backup", "")) not in files:
            put(os.path.join(args.dir, path), b"".join(backup.section(name)))
    if args.tablespace:     # recovery makes the links anew from this file
        with open(os.path.join(args.dir, "tablespace_map"), "wb") as file:
            for link, home in list(homes.items())[1:]:
                file.write(os.fsencode(os.path.basename(link) + " " + re.sub(r"([\\\n\r])", r"\\\1", home) + "\n"))
    os.makedirs(os.path.join(args.dir, "pg_wal", "archive_status"), 0o700, exist_ok=True)
    for name, content in () if args.no_wal else wal_needed(repo):
        if content is not None:
            put(os.path.join(args.dir, "pg_wal", name), content)
    for control in (False, True):
        if control:
            os.sync()
            done(write_shards(last))
        for path, size, crc, *real in files.values():
            need(real == [crc, size] or path == "global/pg_control" and not control,
                 f"{path}: CRC or size of the whole file are not what the file table says")
    for place, mode, mtime in reversed(made):
        os.chmod(place, mode)
        os.utime(place, (mtime, mtime))
    os.sync()

def command_wal(repo, args):
    places = repo.places(args.cluster)
    if os.path.exists("global/pg_control"):     # of several systems the one that asks
        with open("global/pg_control", "rb") as file:
            system = str(int.from_bytes(file.read(8), "little"))
        places = [p for p in places if p.endswith("/" + system)]
    if len(places) != 1:
        raise Stop(200, f"of which cluster? {places}")
    # PostgreSQL takes 1 for the end of the archive, and an unfinished segment for its end: only where nothing lies behind.
    name, folder = args.file, os.path.join(repo.root, places[0], "wal", args.file[:8])
    later = [n for _, _, names in os.walk(folder) for n in names if n[0] != "." and n[:24] > name]
    if len(name) == 24 and later and not os.path.exists(os.path.join(folder, name[8:16], name)):
        raise Stop(200, f"{name} is not whole in {repo.root}, but later ones are there: a hole")
    content = repo.wal(places[0], name)
    if content is None:
        raise Stop(-1, f"{name} is not in {repo.root}")
    with open(args.dest + ".tmp", "wb") as file:
        file.write(content)
    os.rename(args.dest + ".tmp", args.dest)
    return 0

def secret_of(args):
    def line(name):
        return (sys.stdin.readline() if name == "-" else open(name, encoding="utf-8").readline()).rstrip("\n")
    if args.key_file:
        found = re.search("^[0-9a-fA-F]{64}$", open(args.key_file, encoding="utf-8").read(), re.M)
        need(found, f"{args.key_file} is not a key file")
        return 1, bytes.fromhex(found[0])
    if args.passphrase_file:
        return 2, line(args.passphrase_file).encode()
    if args.recovery_code_file:
        text = line(args.recovery_code_file).upper().replace("-", "").translate(str.maketrans("ILO", "110")).strip()
        need(re.fullmatch("[0-9A-HJKMNP-TV-Z]{40}", text), "a recovery code has 8 groups of 5")
        number = sum("0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(c) << 5 * i for i, c in enumerate(reversed(text)))
        code = number.to_bytes(25, "big")
        need(hashlib.sha256(code[:24]).digest()[0] == code[24], "the recovery code is misspelt")
        return 3, code[:24]
    return None

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("repository", "--key-file", "--passphrase-file", "--recovery-code-file", "--cluster"):
        parser.add_argument(name)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, names in (("list", ()), ("restore", ("backup", "dir")), ("wal", ("file", "dest"))):
        sub = commands.add_parser(command)
        for name in names:
            sub.add_argument(name, type=os.path.abspath if name == "dir" else str)
        if command == "restore":
            sub.add_argument("--no-wal", action="store_true")
            sub.add_argument("--tablespace", action="append", default=[], metavar="OID=DIR")
    args = parser.parse_args()
    os.umask(0o077)
    try:
        repo = Repository(os.path.abspath(args.repository), secret_of(args))
        return {"list": command_list, "restore": command_restore, "wal": command_wal}[args.command](repo, args)
    except Stop as why:
        code, text = why.args
    except OSError as why:
        code, text = 1, str(why)
    except (struct.error, LookupError, ValueError, TypeError) as why:
        code, text = 4, f"something that was read is not as the format says: {why!r}"
    print(f"reader.py: {text}", file=sys.stderr)
    return abs(code) if args.command != "wal" or code == -1 else 200

if __name__ == "__main__":
    sys.exit(main())
