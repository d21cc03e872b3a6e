#!/usr/bin/env python3
"""Prints the vectors of aead.c, page_tag.c and scrypt.c that no publication has in our form.

It shares no code with OpenSSL: AES and GCM follow FIPS 197 and SP 800-38D, scrypt follows RFC
7914, in plain Python (hashlib and hmac are used for SHA-256 only).  Before printing it proves
itself on published cases: GCM test cases 13 to 16 (AES-256, 96-bit IV), scrypt of RFC 7914.
"""
import hashlib
import struct


def xtime(a):
    a <<= 1
    return a ^ 0x11B if a & 0x100 else a


def gf_mul(a, b):
    r = 0
    while b:
        if b & 1:
            r ^= a
        a = xtime(a)
        b >>= 1
    return r


def make_sbox():
    box = []
    for x in range(256):
        inverse = next((y for y in range(256) if gf_mul(x, y) == 1), 0)
        v = 0x63
        for shift in range(5):
            v ^= ((inverse << shift) | (inverse >> (8 - shift))) & 0xFF
        box.append(v)
    return box


SBOX = make_sbox()


def expand_key(key):
    words = [list(key[i:i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        w = list(words[-1])
        if i % 8 == 0:
            w = [SBOX[b] for b in w[1:] + w[:1]]
            w[0] ^= rcon
            rcon = xtime(rcon)
        elif i % 8 == 4:
            w = [SBOX[b] for b in w]
        words.append([a ^ b for a, b in zip(words[i - 8], w)])
    return [sum(words[r:r + 4], []) for r in range(0, 60, 4)]


def aes(round_keys, block):
    s = [a ^ b for a, b in zip(block, round_keys[0])]
    for n in range(1, 15):
        s = [SBOX[s[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if n < 14:
            mixed = []
            for c in range(0, 16, 4):
                col = s[c:c + 4]
                for i in range(4):
                    mixed.append(gf_mul(col[i], 2) ^ gf_mul(col[(i + 1) % 4], 3)
                                 ^ col[(i + 2) % 4] ^ col[(i + 3) % 4])
            s = mixed
        s = [a ^ b for a, b in zip(s, round_keys[n])]
    return bytes(s)


def ghash(h, data):
    y = 0
    for i in range(0, len(data), 16):
        x = y ^ int.from_bytes(data[i:i + 16], "big")
        z, v = 0, h
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                z ^= v
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        y = z
    return y


def pad(data):
    return data + bytes(-len(data) % 16)


def gcm(key, nonce, aad, plain):
    rk = expand_key(key)
    h = int.from_bytes(aes(rk, bytes(16)), "big")
    out = b""
    for i in range(0, len(plain), 16):
        stream = aes(rk, nonce + struct.pack(">I", 2 + i // 16))
        out += bytes(a ^ b for a, b in zip(plain[i:i + 16], stream))
    lengths = struct.pack(">QQ", 8 * len(aad), 8 * len(out))
    s = ghash(h, pad(aad) + pad(out) + lengths)
    mask = int.from_bytes(aes(rk, nonce + b"\0\0\0\1"), "big")
    return out, (s ^ mask).to_bytes(16, "big")


def salsa20_8(b):
    x = list(b)

    def quarter(a, b, c, d):
        for to, p, q, r in ((b, a, d, 7), (c, b, a, 9), (d, c, b, 13), (a, d, c, 18)):
            t = x[p] + x[q] & 0xFFFFFFFF
            x[to] ^= (t << r | t >> (32 - r)) & 0xFFFFFFFF

    for _ in range(4):
        for i in range(4):
            quarter(*[(5 * i + 4 * k) % 16 for k in range(4)])
        for i in range(4):
            quarter(*[4 * i + (i + k) % 4 for k in range(4)])
    return [a + c & 0xFFFFFFFF for a, c in zip(x, b)]


def block_mix(b, r):
    x = b[-16:]
    y = []
    for i in range(0, 32 * r, 16):
        x = salsa20_8([p ^ q for p, q in zip(x, b[i:i + 16])])
        y.append(x)
    return sum(y[0::2] + y[1::2], [])


def ro_mix(b, n, r):
    x, v = b, []
    for _ in range(n):
        v.append(x)
        x = block_mix(x, r)
    for _ in range(n):
        j = x[-16] % n
        x = block_mix([p ^ q for p, q in zip(x, v[j])], r)
    return x


def scrypt(password, salt, n, r, p, length):
    b = hashlib.pbkdf2_hmac("sha256", password, salt, 1, 128 * r * p)
    out = b""
    for i in range(0, len(b), 128 * r):
        words = list(struct.unpack("<%dI" % (32 * r), b[i:i + 128 * r]))
        out += struct.pack("<%dI" % (32 * r), *ro_mix(words, n, r))
    return hashlib.pbkdf2_hmac("sha256", password, out, 1, length)


def prove():
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    plain = bytes.fromhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                          "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255")
    nonce = bytes.fromhex("cafebabefacedbaddecaf888")
    aad = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    assert gcm(bytes(32), bytes(12), b"", b"")[1].hex() == "530f8afbc74536b9a963b4f1c4cb738b"
    assert gcm(bytes(32), bytes(12), b"", bytes(16))[1].hex() == "d0d1c8a799996bf0265b98b5d48ab919"
    assert gcm(key, nonce, b"", plain)[1].hex() == "b094dac5d93471bdec1a502270e3cc6c"
    assert gcm(key, nonce, aad, plain[:60])[1].hex() == "76fc6ece0f4e1768cddf8853bb2d551b"
    assert scrypt(b"password", b"NaCl", 1024, 8, 16, 64).hex().startswith(
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162")


def main():
    prove()
    key = bytes(range(32))
    page = bytes((i * 7 + 3) & 0xFF for i in range(8192))
    for space, ordinal, aad, plain in (
            (1, 0, b"pgagent", b"one frame of pages"),
            (7, 0x0102030405060708, b"", bytes(range(64))),
            (255, 2**64 - 2, bytes(range(20)), b"")):
        out, tag = gcm(key, bytes([space, 0, 0, 0]) + struct.pack(">Q", ordinal), aad, plain)
        print("aead", space, hex(ordinal), out.hex(), tag.hex())
    for length in (0, 1, 4096, 8192):
        message = page[:length] + struct.pack("<Q", length)
        print("gmac", length, gcm(key, bytes(12), message, b"")[1].hex())
    print("scrypt 1024 8 4", scrypt(b"password", b"NaCl", 1024, 8, 4, 32).hex())


if __name__ == "__main__":
    main()
