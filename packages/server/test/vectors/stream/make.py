"""Makes stream-v1.json with pyca/cryptography: a second implementation, from the tables in src/vault/stream.ts alone."""
import hashlib
import json
import sys

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CHUNK = 65536


def seal(object_key, object_id, plaintext):
    header = b"ABTN" + bytes([1]) + object_id
    key = AESGCM(HKDF(SHA256(), 32, salt=header, info=b"abaton/stream").derive(object_key))
    chunks = [plaintext[i : i + CHUNK] for i in range(0, len(plaintext), CHUNK)] or [b""]
    blob = header
    for index, chunk in enumerate(chunks):
        nonce = index.to_bytes(11, "big") + bytes([index == len(chunks) - 1])
        blob += key.encrypt(nonce, chunk, None)
    return blob


def pattern(length):
    """SHA-256 of a 4-byte big endian counter, repeated and cut."""
    return b"".join(hashlib.sha256(i.to_bytes(4, "big")).digest() for i in range(length // 32 + 1))[:length]


vectors = []
for number, size in enumerate([0, 1, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5]):
    object_key = hashlib.sha256(b"object key %d" % number).digest()
    object_id = hashlib.sha256(b"object id %d" % number).digest()[:16]
    blob = seal(object_key, object_id, pattern(size))
    vectors.append(
        {
            "plaintextBytes": size,
            "objectKey": object_key.hex(),
            "objectId": object_id.hex(),
            "blobBytes": len(blob),
            "blobSha256": hashlib.sha256(blob).hexdigest(),
            **({"blob": blob.hex()} if size <= 1000 else {}),
        }
    )
json.dump(vectors, sys.stdout, indent=1)
print()
