import numpy as np

from navigator.models.stored import Stored
from navigator.verify.kept_tensors import KeptTensors


def test_tensors_are_read_again_once_there_is_no_room_and_their_ends_never() -> None:
    reads: list[str] = []

    def stored(name: str, *values: float) -> Stored:
        def read() -> np.ndarray:
            reads.append(name)
            return np.array(values)

        return Stored(name, (len(values),), read)

    first, second = stored("first", 1.0, 2.0), stored("second", 3.0, 4.0)
    kept = KeptTensors(limit_bytes=16)

    assert [kept.read(first).tolist() for _ in range(2)] == [[1.0, 2.0]] * 2
    assert kept.ends(second) == (3.0, 4.0)
    assert kept.ends(first) == (1.0, 2.0)
    assert reads == ["first", "second"]

    kept.read(first)
    assert reads == ["first", "second", "first"]
