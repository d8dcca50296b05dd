"""Text that a model returns, such as the names of classes, as bits that can be compared like other outputs."""

import hashlib

import numpy as np

BITS = 64


def bits(text: np.ndarray) -> np.ndarray:
    """Return the first bits of the SHA-256 digest of each text, as bools along a new last axis."""
    distinct, places = np.unique(text.astype(str), return_inverse=True)
    digests = [hashlib.sha256(str(each).encode()).digest()[: BITS // 8] for each in distinct]
    table = np.unpackbits(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, BITS // 8), axis=1).astype(bool)
    return table[places].reshape(*text.shape, BITS)


def note(name: str) -> str:
    """Return the note about an output that is text."""
    return f"output {name} is text, of which {BITS} bits of a digest are compared"
