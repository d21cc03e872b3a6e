#!/usr/bin/env python3
"""Reads a pgagent repository of format 1 without pgagent: an independent decoder, written from FORMAT.md.

    python3 reader.py REPOSITORY [SECRET] [--cluster NAME] list
    python3 reader.py REPOSITORY [SECRET] [--cluster NAME] restore BACKUP DIR [--no-wal] [--tablespace OID=DIR]...
    python3 reader.py REPOSITORY [SECRET] [--cluster NAME] wal FILE DEST

SECRET is --key-file F, --passphrase-file F or --recovery-code-file F (F may be /dev/stdin); none is needed where nothing is
encrypted. REPOSITORY is a directory; copy a bucket to one. Needs Python 3.9, the command zstd and, for what is encrypted, the
package cryptography (Debian: python3-cryptography).

`list` names backups, and the records that hide, keep or bury them (its namesake in .end or .off withdraws one).
`restore` makes a data directory, with the WAL that the backup needs; PostgreSQL of the same major version starts from it. To go
on from there, put recovery.signal beside it and restore_command = 'python3 ABSOLUTE/reader.py REPOSITORY SECRET wal %f %p'.
global/pg_control comes last: a directory without it is incomplete. Remove it, and begin anew.

What is read is checked, and then taken at its word: slots by digest, records by HMAC, objects by commitment and tags, pages by
tag; a file's CRC is what the CRCs of its pages, which their map states, make up together.
Exit codes: 0 done, 1 failed, 2 usage, 3 no such backup, 4 damaged or another key; of `wal` 0, 1 proven absent, 200 else."""
import argparse, collections, functools, hashlib, hmac, io, multiprocessing, os, pathlib, re, struct, subprocess, sys, time

PAGE = 8192
DIRECTORY, SUMMARY, TABLE, ROOT, SECTION, MAP, PAGES, WAL_HEAD, WAL_BYTES = range(1, 10)    # classes of frames
Ref = collections.namedtuple("Ref", "attempt seq ordinal offset stored")                    # of a frame, absolute
BESIDE = {"server-manifest": "backup_manifest", "conf": "postgresql.conf.from-backup",      # sections that become files
          "hba": "pg_hba.conf.from-backup", "ident": "pg_ident.conf.from-backup"}
LISTED = ("type", "server-version", "finished", "timeline", "start-lsn", "stop-lsn", "bytes-cluster", "label")

class Stop(Exception):
    """(exit code, what is wrong)."""

def need(condition, what, code=4):
    if not condition:
        raise Stop(code, what)

# A CRC is a polynomial, bit 31 is x^0, over two elements. n bits that follow multiply it by x^n.
def multiply(a, b):
    product = 0
    while a:
        product ^= b if a & 1 << 31 else 0
        a, b = a << 1 & 0xFFFFFFFF, b >> 1 ^ (0x82F63B78 if b & 1 else 0)
    return product

@functools.lru_cache(1000)
def power(n):
    return 1 << 31 - n if n < 32 else multiply(power(n // 2), power(n - n // 2))

def crc_join(first, second, length):
    """The CRC of two pieces from theirs, the second of `length` bytes, None for zeros; that of no bytes is 0."""
    ones = 0xFFFFFFFF if second is None else 0
    return multiply(first ^ ones, power(8 * length)) ^ (second or ones)

def hkdf(key, salt, info):
    prk = hmac.digest(salt, key, "sha256")
    first = hmac.digest(prk, info + b"\1", "sha256")
    return first + hmac.digest(prk, first + info + b"\2", "sha256")        # of which shorter keys are the beginning

def gcm(key):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM      # only where something is encrypted
    return AESGCM(key)

def gcm_open(cipher, nonce, sealed, aad, what):
    try:
        return cipher.decrypt(nonce, sealed, aad)
    except Exception:
        raise Stop(4, f"{what} is damaged: its authentication tag does not fit") from None

def lines(text):
    """Lines NAME VALUE: {NAME: [VALUE, ...]}."""
    out = collections.defaultdict(list)
    for name, _, value in (line.partition(" ") for line in os.fsdecode(text).split("\n")):
        out[name].append(re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value))
    return out

class Cursor:
    """Takes values from bytes, one after the other."""
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        at, self.at = self.at, self.at + struct.calcsize("<" + form)
        return struct.unpack_from("<" + form, self.data, at)

    def text(self):
        return os.fsdecode(self.take(f"{self.take('H')[0]}s")[0])

    def table(self, form):
        return [self.take(form) for _ in range(self.take("H")[0])]

def unzstd(frames):
    """The plain bytes of frames (codec, plain length, payload): one zstd for all that are compressed."""
    packed = b"".join(payload for codec, _, payload in frames if codec)
    out = subprocess.run(["zstd", "-dcq"], input=packed, stdout=subprocess.PIPE, check=False).stdout if packed else b""
    need(len(out) == sum(length for codec, length, _ in frames if codec), "zstd failed")
    stream = io.BytesIO(out)
    return [stream.read(length) if codec else payload for codec, length, payload in frames]

class Object:
    """A sealed object."""
    def __init__(self, repo, key):
        self.repo, self.key, self.file = repo, key, open(repo.root / key, "rb")
        oid = hashlib.sha256(b"pgagent/1/object-id\0" + key.encode()).digest()[:16]
        magic, kind, how, epoch, ids, salt, commitment = struct.unpack("<8s1s3sI32s32s32s16x", self.file.read(128).ljust(128))
        need((magic, how, ids) == (b"PGAGENT1", bytes([repo.encrypted, 0, 0]), repo.id + oid), f"{key} is damaged or was moved")
        need(epoch in repo.roots, f"{key}: the slot does not hold the key of epoch {epoch}")
        name = b"data" if kind == b"\1" else b"wal" if b"\3" <= kind <= b"\6" else b"meta"
        class_key = hkdf(repo.roots[epoch], repo.id, b"pgagent/1/class/" + name + struct.pack("<I", epoch))[:32]
        secret = hkdf(class_key, salt, b"pgagent/1/object" + kind + repo.id + oid)
        need(hmac.compare_digest(secret[32:], commitment), f"{key} is damaged, or sealed with another key")
        self.cipher = gcm(secret[:32]) if repo.encrypted else secret[:32]
        self.aad = b"PGA1" + repo.id + kind + oid

    def frame(self, cls, ordinal, offset, stored):
        """(codec, plain length, payload), authenticated."""
        raw, what = os.pread(self.file.fileno(), stored + 48, offset), f"{self.key}: frame {ordinal}"
        need(len(raw) == stored + 48 and struct.unpack("<4xB3xI", raw[:12]) == (cls, ordinal), f"{what} is damaged or cut off")
        codec, length, aad = raw[5], int.from_bytes(raw[12:16], "little"), self.aad + raw[:28]
        if self.repo.encrypted:
            return codec, length, gcm_open(self.cipher, struct.pack(">B3xQ", cls, ordinal), raw[32:], aad, what)
        tag = hmac.digest(self.cipher, aad + raw[32:-16], "sha256")[:16]
        need(hmac.compare_digest(tag, raw[-16:]), f"{what} is damaged: its authentication tag does not fit")
        return codec, length, raw[32:-16]

    def content(self):
        """{class: the plain bytes of all its frames, in order}. None is missing: the last, the directory, has an ordinal too."""
        frames, at = [], 128
        while not frames or frames[-1][0] != DIRECTORY:
            cls, stored = struct.unpack("<4xB11xI", os.pread(self.file.fileno(), 20, at).ljust(20))
            frames.append((cls, self.frame(cls, len(frames), at, stored)))
            at += stored + 48
        pieces = unzstd([frame for _, frame in frames])
        return {cls: b"".join(piece for frame, piece in zip(frames, pieces) if frame[0] == cls) for cls in range(1, 10)}

class Repository:
    def __init__(self, root, secret):
        self.root, head = root, lines((root / "FORMAT").read_bytes())
        need((head["format"], head["requires"]) == (["1"], ["-"]), f"{root} is not of format 1 without further features", 1)
        self.id, self.encrypted = bytes.fromhex(head["repository"][0]), head["encryption"] != ["none"]
        self.roots = dict(struct.iter_unpack("<I32s", (keys := self.key_set(secret))[60:]))
        self.k_clear = hkdf(keys[24:56], self.id, b"pgagent/1/clear-records")[:32]
        self.k_tag = hkdf(keys[24:56], self.id, b"pgagent/1/page-tag")[:32]
        self.gmac = gcm(self.k_tag) if head["page-tag"] == ["gmac"] else None
        self.authenticate("FORMAT")

    def names(self, *parts):
        try:
            return sorted(name for name in os.listdir(self.root.joinpath(*parts)) if name[0] != ".")
        except (FileNotFoundError, NotADirectoryError):
            return []

    def key_set(self, secret):
        """What the secret, (type of slot, bytes) or None, finds in the slot with the newest epoch of those that it opens."""
        slots, found = [], []
        for name in self.names("keys"):
            raw = (self.root / "keys" / name).read_bytes()
            body, _, digest = raw.rpartition(b"digest ")
            if hashlib.sha256(body).hexdigest().encode() + b"\n" != digest:
                slots.append(f"{name} (damaged)")
                continue
            slot = {key: values[0] for key, values in lines(raw).items()}
            kind, salt, sealed = int(slot["type"]), bytes.fromhex(slot["salt"]), bytes.fromhex(slot["sealed"])
            slots.append(f"{name} ({('clear', 'key file', 'passphrase', 'recovery code', 'recipient')[kind]})")
            if kind == 0 and not self.encrypted:
                found.append(sealed)
            if secret and secret[0] == kind:
                material = secret[1]
                if kind == 2:
                    n, r, p = map(int, slot["scrypt"].split())
                    material = hashlib.scrypt(material, salt=salt, n=n, r=r, p=p, maxmem=(1 << 31) - 1, dklen=32)
                kek = hkdf(material, salt, b"pgagent/1/slot" + bytes([kind]) + self.id)
                if kek[32:].hex() == slot["commitment"]:
                    found.append(gcm_open(gcm(kek[:32]), bytes(12), sealed, raw[:raw.rindex(b"\nsealed ") + 1], name))
        need(found, f"the secret {'opens none' if secret else 'is missing'}; slots: {', '.join(slots)}")
        return max(found, key=lambda keys: keys[-36:-32][::-1])

    def authenticate(self, key):
        """A clear record: its HMAC says that it is whole, and belongs under this key."""
        body, _, mac = (self.root / key).read_bytes().rpartition(b"hmac ")
        want = hmac.new(self.k_clear, b"pgagent/1/record\0" + key.encode() + b"\0" + body, "sha256").hexdigest()
        need(hmac.compare_digest(want.encode() + b"\n", mac), f"{key} is damaged or was moved: its HMAC does not fit")

    def page_tag(self, page):
        page += len(page).to_bytes(8, "little")
        return self.gmac.encrypt(bytes(12), b"", page) if self.gmac else hmac.digest(self.k_tag, page, "sha256")[:16]

    def places(self, cluster):
        """CLUSTER/SYSTEM of one cluster or of all."""
        clusters = [cluster] if cluster else [n for n in self.names() if n not in ("docs", "keys", "probe")]
        return [f"{cluster}/{system}" for cluster in clusters for system in self.names(cluster) if system.isdigit()]

    def backup(self, place, attempt):
        """None if it was aborted."""
        key = f"{place}/backups/{attempt}"
        return self.authenticate(key) if (self.root / key).read_bytes()[:8] == b"pgagent-" else Backup(self, place, key)

    def wal(self, place, name, path):
        """Writes a file of pg_wal, where need be joined from slices and padded; False if it is not here."""
        below = f"{place}/wal" + ("" if name.endswith(".history") else f"/{name[:8]}/{name[8:16]}")
        content, size = bytearray(), None
        for one in self.names(below):
            part = re.fullmatch(re.escape(name) + r"(?:\.([0-9A-F]{8})-[0-9A-F]{8})?", one)
            if part and (start := int(part[1] or "0", 16)) <= len(content):
                found = Object(self, f"{below}/{one}").content()
                content[start:start + len(found[WAL_BYTES])] = found[WAL_BYTES]
                size = 0 if "." in name else int(lines(found[WAL_HEAD])["segment-bytes"][0])
        if size is not None:
            pathlib.Path(path).write_bytes(content.ljust(size, b"\0"))
        return size is not None

class Backup:
    def __init__(self, repo, place, key):
        self.repo, self.place, self.kept = repo, place, {SECTION: {}, MAP: {}, PAGES: {}}
        self.pack = functools.lru_cache(200)(lambda *pack: Object(repo, self.pack_key(*pack)))      # open files
        found = Object(repo, key).content()
        head, root = lines(found[SUMMARY]), Cursor(found[ROOT])
        self.summary = {name: values[-1] for name, values in head.items()}
        self.tablespaces = [t.split(" ", 1) for t in head["tablespace"]]
        self.packs = list(struct.iter_unpack("<16sIIQQ32s", found[TABLE]))
        self.sections = {}
        for _ in range(root.take("I")[0]):
            name, (_, count) = root.text(), root.take("QI")
            self.sections[name] = [self.ref(root) for _ in range(count)]

    def ref(self, cursor):
        pack, ordinal, offset, stored, _ = cursor.take("IIQII")
        return Ref(*self.packs[pack][:2], ordinal, offset, stored)

    def pack_key(self, attempt, seq):
        text = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(int.from_bytes(attempt[:8], "little")))
        return f"{self.place}/packs/{text}-{attempt[8:].hex()}/{seq:08d}"

    def frames(self, refs, cls):
        """(reference, plain bytes) of frames of a class in packs; 256 at a time are in memory, and kept for the next call."""
        for some in (refs[i:i + 256] for i in range(0, len(refs), 256)):
            new = [r for r in some if r not in self.kept[cls]]
            found = dict(zip(new, unzstd([self.pack(r.attempt, r.seq).frame(cls, *r[2:]) for r in new])))
            self.kept[cls] = {r: found[r] if r in found else self.kept[cls][r] for r in some}
            yield from list(self.kept[cls].items())

    def shard(self, ref, at, length):
        """([(frame or None for zeros, offset in it, tag, CRC) of each page], bytes in the last page)."""
        data = Cursor(next(self.frames([ref], MAP))[1][at:at + length])
        kind, count, last = data.take("BxHI")
        pages, page = [(None, 0, b"", None)] * count, 0
        if kind == 2:       # a patch over another shard
            base = self.shard(Ref(*data.take("16sIIQI4x")), *data.take("II"))[0][:count]
            pages[:len(base)] = base
        packs, frames, runs = data.table("16sI"), data.table("HHIQI4x"), data.table("HHI" if kind == 1 else "HHHHI")
        for run in runs:
            page, length, frame, _, offset = run if kind == 2 else (page, *run[:2], 0, run[2])
            for offset in range(offset, offset + length * PAGE, PAGE):
                pages[page] = (None, 0, b"", None) if frame == 65535 else (
                    Ref(*packs[frames[frame][0]], *frames[frame][2:]), offset, *data.take("16sI"))
                page += 1
        return pages, last

def put_file(file_record):
    """Makes a file, zeros as holes, from pages that it checks."""
    path, mode, size, crc, shards = file_record
    here = found = 0
    with open(path, "xb") as file:
        for shard in shards:
            wanted, (pages, last) = collections.defaultdict(list), backup.shard(*shard)
            for i, (frame, offset, tag, page_crc) in enumerate(pages):
                length = PAGE if i + 1 < len(pages) else last
                if frame:
                    wanted[frame].append((here, offset, length, tag))
                found = crc_join(found, page_crc, length)
                here += length
            for frame, data in backup.frames(sorted(wanted), PAGES):
                for at, offset, length, tag in wanted[frame]:
                    page = data[offset:offset + length]
                    need(backup.repo.page_tag(page) == tag, f"{path}: page {at // PAGE} is damaged")
                    file.seek(at)
                    file.write(page)
        file.truncate(size)
    need((found, here) == (crc, size), f"{path}: CRC or size are not what the file table says")
    os.chmod(path, mode)

def command_list(repo, args):
    code = 0
    for place in repo.places(args.cluster):
        print(place)
        for attempt in repo.names(place, "backups"):
            try:
                if backup := repo.backup(place, attempt):
                    print(f"  {attempt}", *(f"{k} {backup.summary[k]!r}" for k in LISTED if k in backup.summary), sep=", ")
            except Stop as why:
                print(f"  {attempt}, DAMAGED: {why.args[1]}")
                code = 4
        for folder in ("tombs", "hidden", "keeps"):
            for name in repo.names(place, folder):
                repo.authenticate(f"{place}/{folder}/{name}")
                print(f"  {folder}/{name}")
    return code

def command_restore(repo, args, attempt, directory):
    global backup       # for put_file, in other processes
    found = [place for place in repo.places(args.cluster) if attempt in repo.names(place, "backups")]
    backup = found and repo.backup(found[0], attempt)
    need(backup, f"there is no backup {attempt} in {repo.root}", 3)
    for pack in backup.packs:
        path = repo.root / backup.pack_key(*pack[:2])
        need(path.exists() and path.stat().st_size == pack[3], f"{path} is missing or has another length")
    root, moved = pathlib.Path(directory).absolute(), dict(t.split("=", 1) for t in args.tablespace)
    homes = {oid: pathlib.Path(moved.pop(oid, path)).absolute() for oid, path in backup.tablespaces}
    need(not moved, f"there are no tablespaces {list(moved)}", 1)
    for home in (root, *homes.values()):
        need(not home.exists() or not any(home.iterdir()), f"{home} is not empty", 1)
        home.mkdir(parents=True, exist_ok=True)
    (root / "pg_tblspc").mkdir(exist_ok=True)
    for oid, home in homes.items():
        (root / "pg_tblspc" / oid).symlink_to(home)
    put_all(root)
    for section, name in BESIDE.items():
        if section in backup.sections and not (root / name.replace(".from-backup", "")).exists():
            (root / name).write_bytes(b"".join(data for _, data in backup.frames(backup.sections[section], SECTION)))
    if homes:       # recovery makes the links anew from this file
        (root / "tablespace_map").write_bytes(b"".join(
            b"%s %s\n" % (oid.encode(), re.sub(rb"([\\\n\r])", rb"\\\1", bytes(home))) for oid, home in homes.items()))
    if not args.no_wal:
        put_wal(repo, root / "pg_wal")
    os.sync()
    os.rename(root / "global" / "pg_control.incomplete", root / "global" / "pg_control")
    print(f"{attempt} is in {root}. Before you start it: does it archive to where the original did (archive_command)? "
          "Where the configuration lay elsewhere, it is in *.from-backup.")

def put_all(root):
    """What the file table names; pg_control under another name."""
    links = []
    def files():
        for table in (Cursor(data) for _, data in backup.frames(backup.sections["files"], SECTION)):
            while table.at < len(table.data):
                kind, mode, size, crc = table.take("4xBxHQ8xI")
                path, target, (count,) = table.text(), table.text(), table.take("I")
                shards = [(backup.ref(table), *table.take("II")) for _ in range(count)]
                need(not {"", ".", ".."} & set(path.split("/")), f"{path!r} would lie elsewhere")
                place = root / (path + ".incomplete" if path == "global/pg_control" else path)
                (place if kind == 2 else place.parent).mkdir(parents=True, exist_ok=True)
                if kind == 1:
                    yield place, mode, size, crc, shards
                elif kind == 2:
                    place.chmod(mode)
                else:
                    links.append((place, target))
    with multiprocessing.get_context("fork").Pool(min(8, os.cpu_count() or 1)) as pool:
        collections.deque(pool.imap_unordered(put_file, files()), 0)
    for place, target in links:     # last, so that nothing is written through them
        place.symlink_to(target)

def put_wal(repo, folder):
    """History files, and the segments from start to stop."""
    s, size = backup.summary, int(backup.summary["wal-segment-bytes"])
    start, stop = (int(high, 16) << 32 | int(low, 16) for high, low in (s[k].split("/") for k in ("start-lsn", "stop-lsn")))
    timelines = [f"{t:08X}" for t in range(int(s["timeline"]), int(s.get("stop-timeline", s["timeline"])) + 1)]
    folder.mkdir(exist_ok=True)
    for t in timelines:
        repo.wal(backup.place, f"{t}.history", folder / f"{t}.history")
    for number in range(start // size, (stop - 1) // size + 1):
        names = ["%s%08X%08X" % (t, *divmod(number, (1 << 32) // size)) for t in timelines]
        need(any([repo.wal(backup.place, name, folder / name) for name in names]), f"WAL segment {names[0]} is missing")

def command_wal(repo, args, name, path):
    places, control = repo.places(args.cluster), pathlib.Path("global/pg_control")
    if control.exists():        # of several systems the one that asks
        places = [p for p in places if p.endswith(f"/{int.from_bytes(control.read_bytes()[:8], 'little')}")]
    need(len(places) == 1, f"of which cluster? {places}")
    # PostgreSQL takes 1 for the end of the archive, and an unfinished segment for its end: only where nothing lies behind.
    folder = repo.root / places[0] / "wal" / name[:8]
    later = [n for _, _, names in os.walk(folder) for n in names if n[0] != "." and n[:24] > name]
    need(len(name) != 24 or not later or (folder / name[8:16] / name).exists(), f"{name} is not whole, but later ones are there")
    if not repo.wal(places[0], name, path):
        print(f"{name} is not in {repo.root}", file=sys.stderr)
        return 1

def secret_of(kind, path):
    """(type of slot, the secret that the file holds for it)."""
    text = pathlib.Path(path).read_text("utf-8")
    if kind == 1:
        found = re.search("^[0-9a-fA-F]{64}$", text, re.M)
        need(found, f"{path} is not a key file")
        return kind, bytes.fromhex(found[0])
    if kind == 2:
        return kind, text.partition("\n")[0].encode()
    digits = text.strip().upper().translate(str.maketrans("ILOJKMNPQRSTVWXYZ", "110IJKLMNOPQRSTUV", "-"))
    need(re.fullmatch("[0-9A-V]{40}", digits), f"{path}: a recovery code has 8 groups of 5")
    code = int(digits, 32).to_bytes(25, "big")
    need(hashlib.sha256(code[:24]).digest()[0] == code[24], f"{path}: the recovery code is misspelt")
    return kind, code[:24]

def main():
    commands = {"list": (command_list, 0), "restore": (command_restore, 2), "wal": (command_wal, 2)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda text: need(False, f"{text}; --help says more", 2)
    parser.add_argument("repository", type=lambda path: pathlib.Path(path).absolute())
    parser.add_argument("command", choices=commands)
    parser.add_argument("operands", nargs="*")
    for kind, option in enumerate(("--key-file", "--passphrase-file", "--recovery-code-file"), 1):
        parser.add_argument(option, dest="secret", metavar="F", type=lambda path, kind=kind: (kind, path))
    parser.add_argument("--cluster")
    parser.add_argument("--no-wal", action="store_true")
    parser.add_argument("--tablespace", action="append", default=[], metavar="OID=DIR")
    os.umask(0o077)
    args = None
    try:
        run, count = commands[(args := parser.parse_intermixed_args()).command]
        need(len(args.operands) == count, f"{args.command} takes {count} operands; --help says more", 2)
        repo = Repository(args.repository, args.secret and secret_of(*args.secret))
        return run(repo, args, *args.operands) or 0
    except Stop as why:
        code, text = why.args
    except (OSError, ImportError) as why:
        code, text = 1, why
    except Exception as why:
        code, text = 4, f"something that was read is not as the format says: {why!r}"
    print(f"reader.py: {text}", file=sys.stderr)
    return 200 if (args.command == "wal" if args else "wal" in sys.argv) else code

if __name__ == "__main__":
    sys.exit(main())
