#!/usr/bin/env python3
"""Writes format-v1.txt: the formulas of lib/repo/FORMAT.md, sections 2 to 6, on fixed inputs.

Made from the text of FORMAT.md with Python's hashlib and hmac only; AES, GCM, HKDF and CRC-32C are
written out below, so that nothing here shares code with pgagent.  Run: make_vectors.py > format-v1.txt
"""
import hashlib
import hmac
import struct


# -- primitives ------------------------------------------------------------------------------------

def make_sbox():
    sbox = [0] * 256
    p = q = 1
    while True:
        p = p ^ ((p << 1) & 0xff) ^ (0x1b if p & 0x80 else 0)
        q ^= (q << 1) & 0xff
        q ^= (q << 2) & 0xff
        q ^= (q << 4) & 0xff
        if q & 0x80:
            q ^= 0x09
        rot = [((q << n) | (q >> (8 - n))) & 0xff for n in range(5)]
        sbox[p] = rot[0] ^ rot[1] ^ rot[2] ^ rot[3] ^ rot[4] ^ 0x63
        if p == 1:
            break
    sbox[0] = 0x63
    return sbox


SBOX = make_sbox()


def xtime(b):
    return ((b << 1) ^ (0x1b if b & 0x80 else 0)) & 0xff


def aes256_round_keys(key):
    words = [list(key[i:i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        word = list(words[i - 1])
        if i % 8 == 0:
            word = [SBOX[b] for b in word[1:] + word[:1]]
            word[0] ^= rcon
            rcon = xtime(rcon)
        elif i % 8 == 4:
            word = [SBOX[b] for b in word]
        words.append([a ^ b for a, b in zip(words[i - 8], word)])
    return [sum(words[i:i + 4], []) for i in range(0, 60, 4)]


def aes_block(round_keys, block):
    s = [a ^ b for a, b in zip(block, round_keys[0])]
    for n in range(1, 15):
        s = [SBOX[b] for b in s]
        s = [s[(i + 4 * (i % 4)) % 16] for i in range(16)]
        if n < 14:
            mixed = []
            for c in range(0, 16, 4):
                a = s[c:c + 4]
                every = a[0] ^ a[1] ^ a[2] ^ a[3]
                mixed += [a[i] ^ every ^ xtime(a[i] ^ a[(i + 1) % 4]) for i in range(4)]
            s = mixed
        s = [a ^ b for a, b in zip(s, round_keys[n])]
    return bytes(s)


def ghash(h, data):
    h = int.from_bytes(h, "big")
    y = 0
    for i in range(0, len(data), 16):
        x = y ^ int.from_bytes(data[i:i + 16], "big")
        z, v = 0, h
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                z ^= v
            v = (v >> 1) ^ (0xe1 << 120 if v & 1 else 0)
        y = z
    return y.to_bytes(16, "big")


def pad16(data):
    return data + bytes(-len(data) % 16)


def gcm(key, nonce, aad, plain):
    keys = aes256_round_keys(key)
    h = aes_block(keys, bytes(16))
    out = b""
    for n in range(0, len(plain), 16):
        stream = aes_block(keys, nonce + struct.pack(">I", n // 16 + 2))
        out += bytes(a ^ b for a, b in zip(plain[n:n + 16], stream))
    s = ghash(h, pad16(aad) + pad16(out) + struct.pack(">QQ", 8 * len(aad), 8 * len(out)))
    first = aes_block(keys, nonce + struct.pack(">I", 1))
    return out, bytes(a ^ b for a, b in zip(s, first))


def hkdf(key, salt, info, n):
    prk = hmac.new(salt, key, hashlib.sha256).digest()
    out = last = b""
    while len(out) < n:
        last = hmac.new(prk, last + info + bytes([len(out) // 32 + 1]), hashlib.sha256).digest()
        out += last
    return out[:n]


def crc32c(data):
    crc = 0xffffffff
    for b in data:
        crc ^= b
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def sha256(data):
    return hashlib.sha256(data).digest()


def check_primitives():
    # FIPS 197 C.3; the GCM specification's test case 16; RFC 5869 A.1; RFC 3720 B.4.
    key = bytes(range(32))
    block = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert aes_block(aes256_round_keys(key), block).hex() == "8ea2b7ca516745bfeafc49904b496089"
    out, tag = gcm(
        bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2),
        bytes.fromhex("cafebabefacedbaddecaf888"),
        bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
        bytes.fromhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                      "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"))
    assert tag.hex() == "76fc6ece0f4e1768cddf8853bb2d551b"
    okm = hkdf(bytes([0x0b] * 22), bytes(range(13)), bytes(range(0xf0, 0xfa)), 42)
    assert okm.hex().startswith("3cb25f25faacd57a90434f64d0362f2a")
    assert crc32c(bytes(32)) == 0x8a9136aa


# -- FORMAT.md -------------------------------------------------------------------------------------

def run(first, n):
    return bytes((first + i) & 0xff for i in range(n))


REPOSITORY = run(0x00, 16)
K_ID = run(0x20, 32)
ROOTS = {1: run(0x40, 32), 258: run(0x60, 32)}
SALT = run(0x80, 32)
CREATED = "2026-11-23T14:05:00.000000Z"
ATTEMPT = "20261123T140500Z-0123456789abcdef"
PREFIX = "main/7000000000000000001/"


def u32(v):
    return struct.pack("<I", v)


def u64(v):
    return struct.pack("<Q", v)


def class_key(name, epoch):
    return hkdf(ROOTS[epoch], REPOSITORY, b"pgagent/1/class/" + name + u32(epoch), 32)


K_TAG = hkdf(K_ID, REPOSITORY, b"pgagent/1/page-tag", 32)
K_CLEAR = hkdf(K_ID, REPOSITORY, b"pgagent/1/clear-records", 32)
KEY_SET = (b"PGAKEYS1" + REPOSITORY + K_ID + u32(len(ROOTS)) +
           b"".join(u32(e) + ROOTS[e] for e in sorted(ROOTS)))


def record(key, kind, lines):
    text = ("pgagent-record %s 1\n" % kind + lines).encode()
    tag = hmac.new(K_CLEAR, b"pgagent/1/record\0" + key.encode() + b"\0" + text, hashlib.sha256)
    return text + b"hmac " + tag.hexdigest().encode() + b"\n"


def slot(name, kind, secret):
    material, cost = secret, ""
    if kind == 2:
        material = hashlib.scrypt(secret, salt=SALT, n=1 << 17, r=8, p=1, maxmem=1 << 28, dklen=32)
        cost = "scrypt 131072 8 1\n"
    text = "pgagent-key-slot 1\nslot %s\ntype %d\nrepository %s\nsalt %s\ncreated %s\nepoch %d\n%s" % (
        name, kind, REPOSITORY.hex(), SALT.hex(), CREATED, max(ROOTS), cost)
    sealed = KEY_SET
    if kind != 0:
        both = hkdf(material, SALT, b"pgagent/1/slot" + bytes([kind]) + REPOSITORY, 64)
        text += "commitment %s\n" % both[32:].hex()
        out, tag = gcm(both[:32], bytes(12), text.encode(), KEY_SET)
        sealed = out + tag
    text += "sealed %s\n" % sealed.hex()
    return (text + "digest %s\n" % sha256(text.encode()).hex()).encode()


def recovery_code(secret):
    number = int.from_bytes(secret + sha256(secret)[:1], "big")
    digits = ["0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> 5 * i & 31] for i in range(39, -1, -1)]
    return "-".join("".join(digits[i:i + 5]) for i in range(0, 40, 5))


def sealed_object(key, kind, class_name, encryption, frames):
    object_id = sha256(b"pgagent/1/object-id\0" + key.encode())[:16]
    epoch = max(ROOTS)
    both = hkdf(class_key(class_name, epoch), SALT,
                b"pgagent/1/object" + bytes([kind]) + REPOSITORY + object_id, 64)
    header = (b"PGAGENT1" + bytes([kind, encryption, 0, 0]) + u32(epoch) + REPOSITORY + object_id +
              SALT + both[32:] + bytes(12))
    out = header + u32(crc32c(header))
    directory = b""

    def frame(frame_class, codec, ordinal, plain_len, payload):
        head = (b"PGFR" + bytes([frame_class, codec, 0, 0]) + u32(ordinal) + u32(plain_len) +
                u32(len(payload)) + bytes(8))
        aad = b"PGA1" + REPOSITORY + bytes([kind]) + object_id + head
        nonce = bytes([frame_class, 0, 0, 0]) + struct.pack(">Q", ordinal)
        if encryption:
            sealed, tag = gcm(both[:32], nonce, aad, payload)
        else:
            sealed = payload
            tag = hmac.new(both[:32], aad + payload, hashlib.sha256).digest()[:16]
        return head + u32(crc32c(head)) + sealed + tag

    for ordinal, (frame_class, codec, plain_len, payload) in enumerate(frames):
        directory += (u64(len(out)) + u32(len(payload)) + u32(plain_len) +
                      bytes([frame_class, codec, 0, 0]))
        out += frame(frame_class, codec, ordinal, plain_len, payload)
    directory = u32(len(frames)) + directory
    last = frame(1, 0, len(frames), len(directory), directory)
    trailer = b"PGAEND01" + u64(len(out)) + u32(len(last)) + u32(len(frames) + 1) + u32(0)
    return out + last + trailer + u32(crc32c(trailer))


def show(name, value):
    print(name, value.hex() if isinstance(value, bytes) else value)


def show_objects():
    # A zstd frame by hand: magic, single segment with a content size of 2 bytes (minus 256), one
    # last block of the kind that repeats one byte.
    repeated = (b"\x28\xb5\x2f\xfd" + b"\x60" + struct.pack("<H", 600 - 256) +
                (600 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"a")
    for suffix, encryption in (("aes-256-gcm", 1), ("none", 0)):
        for name, kind, class_name, key in (
                ("pack", 1, b"data", PREFIX + "packs/" + ATTEMPT + "/00000000"),
                ("manifest", 2, b"meta", PREFIX + "backups/" + ATTEMPT),
                ("wal", 3, b"wal", PREFIX + "wal/00000001/00000000/000000010000000000000002")):
            frames = [(7, 1, 600, repeated), (6, 0, 40, run(0xa0, 40)), (7, 0, 1, b"z")]
            if suffix == "none":
                show("%s-key" % name, key)
            show("%s-%s" % (name, suffix), sealed_object(key, kind, class_name, encryption, frames))
    show("frame-0-payload", repeated)
    show("frame-0-plain", b"a" * 600)
    show("frame-1-plain", run(0xa0, 40))
    show("frame-2-plain", b"z")


def main():
    check_primitives()
    show("#", "Test vectors of repository format 1, made by make_vectors.py: NAME VALUE, HEX unless text.")
    show("#", "2: names")
    show("attempt", ATTEMPT)
    show("attempt-binary", u64(1795442700) + bytes.fromhex(ATTEMPT[17:]))
    show("#", "4: keys")
    show("repository-id", REPOSITORY)
    show("salt", SALT)
    show("created", CREATED)
    show("key-set", KEY_SET)
    show("k-tag", K_TAG)
    show("k-clear", K_CLEAR)
    for epoch in sorted(ROOTS):
        for name in (b"data", b"meta", b"wal"):
            show("k-%s-%d" % (name.decode(), epoch), class_key(name, epoch))
    recovery = run(0xc0, 24)
    show("key-file-secret", run(0xe0, 32))
    show("passphrase", "correct horse battery staple")
    show("recovery-secret", recovery)
    show("recovery-code", recovery_code(recovery))
    show("slot-clear", slot("clear", 0, b""))
    show("slot-key-file", slot("primary", 1, run(0xe0, 32)))
    show("slot-passphrase", slot("people", 2, b"correct horse battery staple"))
    show("slot-recovery", slot("recovery", 3, recovery))
    show("#", "3: clear records")
    show("record-key", PREFIX + "tombs/" + ATTEMPT)
    show("record-type", "tomb")
    body = "attempt %s\nreason a \\\\ and\\na second line\n" % ATTEMPT
    show("record-body", body.encode())
    show("record", record(PREFIX + "tombs/" + ATTEMPT, "tomb", body))
    show("#", "5: page tags, of a page of 8192 bytes (byte i is i * 7 mod 251) and of its first 100")
    page = bytes(i * 7 % 251 for i in range(8192))
    for n in (8192, 100):
        data = page[:n] + u64(n)
        show("page-tag-gmac-%d" % n, gcm(K_TAG, bytes(12), data, b"")[1])
        show("page-tag-hmac-%d" % n, hmac.new(K_TAG, data, hashlib.sha256).digest()[:16])
    show("#", "6: sealed objects, of epoch 258; frame 0 is pages (zstd), 1 shards, 2 pages (stored)")
    show_objects()


main()
