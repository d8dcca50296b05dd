"""Text in ONNX graphs: what inputs that are text may be, and text that a model returns, as bits to compare.

What a graph knows, such as an encoder's categories, is in the attributes of its operators. Those of ONNX Runtime read
text as a whole, or split it into words or characters first.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from navigator.frameworks.onnx.weights import Proto, graphs
from navigator.samples.values import ANY_TEXTS, Told

BITS = 64

# TensorProto.STRING.
_STRING = 8

# Attributes with texts that an operator looks its input up among, and StringNormalizer's, which it drops.
_KNOWN = ("cats_strings", "keys_strings", "keys_tensor", "classes_strings", "pool_strings", "stopwords")

_SPLITTING = frozenset({"Tokenizer", "StringSplit"})

# The texts of the first output are those of the inputs, in other places or another case.
_MOVING = frozenset({"Expand", "Flatten", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"})
_SAME = frozenset({"Identity", "StringNormalizer"})

# What can be read as a number.
_NUMBERS = ("0", "1", "-1", "2.5", "100")

# Words of texts that are split, in turn: long ones show many words at once, and short ones each alone. For each so many
# words that are known, all are as much longer.
_LENGTHS = (12, 3, 12, 1)
_WORDS = 1000

# Between their first two words, in turn: what may be part of a word, a word of its own, or neither.
_ODD = (" ", ", ", " a ", "2 ")

# Texts that are split, at least: each word is in several of them, beside others.
_FEWEST = 48

# Where ONNX Runtime's StringNormalizer changes case, if its node doesn't say.
_LOCALE = "en_US.UTF-8"
EVERYWHERE = "C.UTF-8"
"""The locale that glibc always has."""


def bits(text: np.ndarray) -> np.ndarray:
    """Return the first bits of the SHA-256 digest of each text, as bools along a new last axis."""
    distinct, places = np.unique(text.astype(str), return_inverse=True)
    digests = [hashlib.sha256(str(each).encode()).digest()[: BITS // 8] for each in distinct]
    table = np.unpackbits(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, BITS // 8), axis=1).astype(bool)
    return table[places].reshape(*text.shape, BITS)


def note(name: str) -> str:
    """Return the note about an output that is text."""
    return f"output {name} is text, of which {BITS} bits of a digest are compared"


def without_locales(model: Proto) -> str:
    """Let StringNormalizer change case as it's done where no language is installed; return those that it needs.

    Letters change alike, but in Turkish and the like, which a node has to name.
    """
    import onnx

    wanted: dict[str, None] = {}
    for node in (each for graph in graphs(model) for each in graph.node if each.op_type == "StringNormalizer"):
        named = [each for each in node.attribute if each.name == "locale"]
        wanted[named[0].s.decode() if named else _LOCALE] = None
        for each in named:
            node.attribute.remove(each)
        node.attribute.append(onnx.helper.make_attribute("locale", EVERYWHERE))
    return ", ".join(wanted)


_Place = tuple[str, int]
"""An input, and a place of its last axis."""


@dataclass(slots=True)
class Vocabulary:
    """Collects the texts that a graph knows, in its order.

    `inputs` are the inputs that are text, with the number of places of their last axis, 1 if all are read alike.
    `places` are the places that the last axis of a value has its texts from, `split` the values that are parts of
    texts. `whole` are the texts that are known of a place, `parts` sequences of parts of them, and `readers` who knows.
    """

    inputs: dict[str, int]
    places: dict[str, tuple[frozenset[_Place], ...]]
    split: set[str] = field(default_factory=set)
    whole: dict[_Place, dict[str, None]] = field(default_factory=dict)
    parts: dict[_Place, dict[tuple[str, ...], None]] = field(default_factory=dict)
    readers: dict[str, dict[str, None]] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Iterable[Proto]) -> "Vocabulary":
        """Return one for those of a graph's inputs that are text."""
        counts = {}
        for value in inputs:
            if value.type.tensor_type.elem_type == _STRING:
                sizes = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
                counts[value.name] = max(1, sizes[-1]) if len(sizes) == 2 else 1
        return cls(counts, {name: tuple(frozenset({(name, at)}) for at in range(n)) for name, n in counts.items()})

    def read(self, node: Proto, constants: Mapping[str, Proto]) -> None:
        """Note what a node knows of the texts that it reads, and where those are that it returns."""
        texts = [name for name in node.input if name in self.places]
        if not texts:
            return
        for name in texts:
            sequences = list(_sequences(node, constants))
            for place in frozenset().union(*self.places[name]):
                self._know(place, sequences, node.op_type, split=name in self.split)
        for output, places in zip(node.output, self._moved(node, texts, constants), strict=False):
            self.places[output] = places
            if node.op_type in _SPLITTING or not self.split.isdisjoint(texts):
                self.split.add(output)

    def told(self) -> Mapping[str, Told]:
        """Return the texts that each input may be, where the graph knows any."""
        found = {}
        for name, count in self.inputs.items():
            columns = [tuple(dict.fromkeys(self._texts((name, place)))) for place in range(count)]
            if any(columns):
                texts = tuple(each or ANY_TEXTS for each in columns)
                why = f"from {', '.join(self.readers[name])}"
                found[name] = Told(low=0, high=max(map(len, texts)) - 1, why=why, texts=texts)
        return found

    def _know(self, place: _Place, sequences: Sequence[tuple[str, ...]], reader: str, *, split: bool) -> None:
        if not sequences:
            return
        self.readers.setdefault(place[0], {})[reader] = None
        if split:
            self.parts.setdefault(place, {}).update(dict.fromkeys(sequences))
        else:
            self.whole.setdefault(place, {}).update(dict.fromkeys(part for each in sequences for part in each))

    def _texts(self, place: _Place) -> Iterator[str]:
        """Yield what is known of a place, and texts that all known parts are in, one of them twice."""
        yield from self.whole.get(place, ())
        parts = list(self.parts.get(place, ()))
        between = " " if any(len(part) > 1 for each in parts for part in each) else ""
        rng, turn = np.random.default_rng(0), 0
        while parts and turn < _FEWEST:
            order = list(rng.permutation(len(parts)))
            while order:
                length = _LENGTHS[turn % len(_LENGTHS)] * (1 + len(parts) // _WORDS)
                chosen, order, turn = [parts[index] for index in order[:length]], order[length:], turn + 1
                first, *others = (part for each in (*chosen, *chosen[: length > 1]) for part in each)
                odd = between and _ODD[turn % len(_ODD)]
                yield f"{first}{odd}{between.join(others)}" if others else first

    def _moved(
        self, node: Proto, texts: Sequence[str], constants: Mapping[str, Proto]
    ) -> list[tuple[frozenset[_Place], ...]]:
        """Return the places of the texts in each output of a node, none of one that returns other values."""
        kind, places = node.op_type, self.places[texts[0]]
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        along = len(places) > 1 and axis in (1, -1)
        if kind in _SAME:
            return [places]
        if kind == "ArrayFeatureExtractor" or (kind == "Gather" and along):
            chosen = _whole_numbers(constants.get(node.input[1]))
            return [tuple(places[index] for index in chosen) if chosen and max(chosen) < len(places) else _any(places)]
        if kind == "Split" and along:
            sizes = _whole_numbers(constants.get(node.input[1])) if len(node.input) > 1 else ()
            sizes = sizes or [-(-len(places) // len(node.output))] * len(node.output)
            ends = np.cumsum([0, *sizes])
            return [places[start:end] or _any(places) for start, end in pairwise(ends)]
        if kind == "Concat" and axis in (1, -1):
            return [tuple(place for name in node.input for place in self.places.get(name, (frozenset(),)))]
        if kind in _MOVING or kind in _SPLITTING or kind in ("Concat", "Gather", "Split", "StringConcat"):
            return [_any([place for name in texts for place in self.places[name]])] * len(node.output)
        return []


def _any(places: Iterable[frozenset[_Place]]) -> tuple[frozenset[_Place], ...]:
    return (frozenset().union(*places),)


def _sequences(node: Proto, constants: Mapping[str, Proto]) -> Iterator[tuple[str, ...]]:
    """Yield the texts that a node knows, as sequences: those of TfIdfVectorizer may be longer than 1."""
    import onnx

    held = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    if node.op_type == "Cast" and held["to"] != _STRING:
        yield from ((each,) for each in _NUMBERS)
    pool = _decoded(held.pop("pool_strings", ()))
    counts = [*held.get("ngram_counts", ()), len(pool)]
    for length, (start, end) in enumerate(pairwise(counts), 1):
        yield from (tuple(pool[at : at + length]) for at in range(start, end, length))
    given = [*(held[name] for name in _KNOWN if name in held), *(constants.get(name) for name in node.input)]
    for each in given:
        values = each.string_data if isinstance(each, onnx.TensorProto) and each.data_type == _STRING else each
        if values is not None and not isinstance(values, onnx.TensorProto):
            yield from ((text,) for text in _decoded(values))


def _decoded(texts: Iterable[bytes]) -> list[str]:
    return [text.decode("utf-8", "replace") for text in texts]


def _whole_numbers(tensor: Proto | None) -> list[int]:
    import onnx

    if tensor is None or tensor.external_data or tensor.data_type not in (6, 7):
        return []
    return [int(each) for each in onnx.numpy_helper.to_array(tensor).ravel()]
