"""Properties of the notations: every way to write a value gives the same value, and nothing makes us fall over."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from navigator import config
from navigator.config import schema
from navigator.config.dtypes import NAMES, canonical_dtype, dtype_problem
from navigator.records import ModelConfig, RunConfig, from_data, to_data

# Names as frameworks make them; the list notation cannot hold spaces, commas or a trailing separator.
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_./]{0,12}(:[0-9]{1,2})?", fullmatch=True)
SHAPE = st.lists(st.integers(1, 9999), min_size=1, max_size=5)
TOLERANCE = st.floats(0, 1e6, allow_nan=False)
BOUND = st.floats(-1e6, 1e6, allow_nan=False)
RANGE = st.tuples(BOUND, BOUND).map(sorted)
DTYPE = st.sampled_from(sorted(NAMES))
COMMON = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("notations")
    (root / "m.onnx").write_bytes(b"\x08\x08\x3a\x00")
    return root


def typed(directory: Path, **options: Any) -> ModelConfig:
    given = {"model_name": "m", "model_path": "m.onnx", **options}
    return config.load(None, given, working_directory=directory).models[0]


def from_file(directory: Path, **options: Any) -> ModelConfig:
    path = directory / "navigator.yaml"
    path.write_text(yaml.safe_dump({"model_name": "m", "model_path": "m.onnx", **options}, sort_keys=False))
    return config.load(path, {}, working_directory=directory).models[0]


def as_list(values: Mapping[str, Any], separator: str) -> list[str]:
    def text(value: Any) -> str:
        return ",".join(map(repr, value)) if isinstance(value, list) else str(value)

    return [f"{name}{separator}{text(value)}" if name else text(value) for name, value in values.items()]


@COMMON
@given(st.dictionaries(st.one_of(st.just(""), NAME), TOLERANCE), st.sampled_from("=:"))
@example({"a:0": 1e-5}, "=")
def test_tolerances(directory: Path, values: dict[str, float], separator: str) -> None:
    expected = {"": 1e-5, **values}
    assert from_file(directory, atol=values).atol == expected
    assert from_file(directory, atol=as_list(values, separator)).atol == expected
    assert typed(directory, atol=as_list(values, separator)).atol == expected
    if values:
        assert from_file(directory, atol=" ".join(as_list(values, separator))).atol == expected


@COMMON
@given(st.dictionaries(NAME, SHAPE), st.sampled_from("=:"))
def test_shapes(directory: Path, values: dict[str, list[int]], separator: str) -> None:
    expected = {name: tuple(shape) for name, shape in values.items()}
    assert from_file(directory, max_shapes=values).max_shapes == expected
    assert from_file(directory, max_shapes=as_list(values, separator)).max_shapes == expected
    assert typed(directory, max_shapes=as_list(values, separator)).max_shapes == expected


@COMMON
@given(st.dictionaries(st.one_of(st.just(""), NAME), RANGE), st.sampled_from("=:"))
def test_ranges(directory: Path, values: dict[str, list[float]], separator: str) -> None:
    expected = {name: tuple(ends) for name, ends in values.items()}
    assert from_file(directory, value_ranges=values).value_ranges == expected
    assert from_file(directory, value_ranges=as_list(values, separator)).value_ranges == expected
    assert typed(directory, value_ranges=as_list(values, separator)).value_ranges == expected
    if list(values) == [""]:
        assert from_file(directory, value_ranges=values[""]).value_ranges == expected


@COMMON
@given(st.dictionaries(st.one_of(st.just(""), NAME), DTYPE), st.sampled_from("=:"))
def test_dtypes(directory: Path, values: dict[str, str], separator: str) -> None:
    expected = {name: np.dtype(dtype).name for name, dtype in values.items()}
    assert from_file(directory, dtypes=values).dtypes == expected
    assert typed(directory, dtypes=as_list(values, separator)).dtypes == expected


@COMMON
@given(
    st.dictionaries(NAME, st.tuples(st.lists(st.sampled_from([-1, 1, 3, 224]), max_size=4), DTYPE), min_size=1),
    st.sampled_from("=:"),
)
def test_tensors(directory: Path, values: dict[str, tuple[list[int], str]], separator: str) -> None:
    expected = [(name, tuple(shape), np.dtype(dtype).name) for name, (shape, dtype) in values.items()]

    def found(model: ModelConfig) -> list[tuple[str, Any, str]]:
        return [(spec.name, spec.shape, spec.dtype) for spec in model.inputs]

    mapping = {name: {"shape": shape, "dtype": dtype} for name, (shape, dtype) in values.items()}
    texts = [f"{name}{separator}{','.join(map(str, shape))}:{dtype}" for name, (shape, dtype) in values.items()]
    assert found(from_file(directory, inputs=mapping)) == expected
    assert found(from_file(directory, inputs=[{"name": name, **each} for name, each in mapping.items()])) == expected
    assert found(from_file(directory, inputs=texts)) == expected
    assert found(typed(directory, inputs=texts)) == expected


@COMMON
@given(st.floats(0, 1e30, allow_nan=False, exclude_min=True))
@pytest.mark.parametrize("form", ["{!r}", "{:e}", "{:.3f}", "{:g}"])
def test_numbers_in_every_form(directory: Path, form: str, number: float) -> None:
    text = form.format(number)
    path = directory / "navigator.yaml"
    path.write_text(f"model_name: m\nmodel_path: m.onnx\nrtol: {text}\n")
    assert config.load(path, {}, working_directory=directory).models[0].rtol == {"": float(text)}


def test_a_result_survives_the_round_trip(directory: Path) -> None:
    model = from_file(directory, inputs=["x:-1,3:float32"], rtol={"y": 0.1}, value_ranges=[0, 1])
    assert from_data(ModelConfig, to_data(model)) == model


@pytest.mark.parametrize("spelling", sorted(NAMES))
def test_dtype_names_are_numpy_s(spelling: str) -> None:
    assert NAMES[spelling] == np.dtype(spelling).name
    if len(spelling) <= 2:
        for order in "<>=|":
            assert canonical_dtype(order + spelling) == np.dtype(order + spelling).name


@pytest.mark.skipif(np.__version__.startswith("1."), reason="NumPy 1 has names that NumPy 2 dropped")
def test_every_dtype_that_can_be_verified_is_known() -> None:
    spellings = {str(key) for key in np.sctypeDict} - {"a"} | set("?bhilqpBHILQPefd")  # "a" is deprecated
    for spelling in spellings:
        dtype = np.dtype(spelling)
        # Other packages register theirs (float8, bfloat16) as soon as they are imported.
        own = dtype.type.__module__ == "numpy"
        verifiable = own and (dtype.kind in "biuU" or (dtype.kind == "f" and dtype.itemsize <= 8))
        assert (canonical_dtype(spelling) is not None) == verifiable, spelling


@pytest.mark.parametrize("spelling", ["S", "O", "object", "bytes_", "|S3"])
def test_bytes_and_objects_have_their_sentence(spelling: str) -> None:
    message, hint = dtype_problem(spelling)
    assert message == f"dtype '{spelling}' can't be verified: bytes and objects can't be compared numerically"
    assert hint.startswith("write string for inputs of ONNX models that are text")


@pytest.mark.parametrize("spelling", ["string", "str", "str_", "unicode", "U", "U10", "<U3"])
def test_text_has_one_name(spelling: str) -> None:
    assert canonical_dtype(spelling) == "string"


@pytest.mark.parametrize(
    ("spelling", "meant"),
    [("torch.float32", "float32"), ("FP16", "float16"), ("Float32", "float32"), ("int46", "int64")],
)
def test_what_other_tools_call_it_is_suggested(spelling: str, meant: str) -> None:
    assert dtype_problem(spelling) == (f"'{spelling}' is not a NumPy dtype", f"did you mean '{meant}'?")


SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["x:-1,3:float32", "a=1", "", "=", ":", "a:", "=1", "::", "x=1,", "\0", "../..", "onnx", "m.onnx"]),
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.text(max_size=4), st.sampled_from(["name", "shape", "dtype", "cpu"])), inner, max_size=3
        ),
    ),
    max_leaves=8,
)
KEY = st.one_of(st.sampled_from([*schema.spellings(), "models", "defaults"]), st.text(max_size=5))
FLAT = st.dictionaries(KEY, VALUE, max_size=6)
FILE = st.one_of(
    FLAT,
    VALUE,
    st.fixed_dictionaries({"models": st.lists(FLAT, max_size=3)}, optional={"defaults": FLAT, "rtol": VALUE}),
)


@given(FILE)
def test_any_data_gives_a_configuration_or_problems(directory: Path, data: Any) -> None:
    _survives(directory, yaml.safe_dump(data).encode())


@given(
    st.one_of(st.text(alphabet=st.sampled_from("ab:-,[]{}#&*!|>'\"%@`<= \n\t0.?"), max_size=60), st.text(max_size=60))
)
def test_any_text_gives_a_configuration_or_problems(directory: Path, text: str) -> None:
    _survives(directory, text.encode("utf-8", errors="surrogatepass"))


@given(st.binary(max_size=60))
def test_any_bytes_give_problems(directory: Path, content: bytes) -> None:
    _survives(directory, content)


@given(st.dictionaries(st.sampled_from(list(schema.options())), VALUE, max_size=5))
def test_any_override_gives_a_configuration_or_problems(directory: Path, data: dict[str, Any]) -> None:
    _, problems = _attempt(None, {"model_path": "m.onnx", "model_name": "m", **data}, directory)
    assert all(problem.path is None for problem in problems)
    assert all(problem.message.startswith("--") for problem in problems)
    assert all(str(problem).isprintable() for problem in problems)


def _named_everywhere(name: str) -> list[dict[str, Any]]:
    """Configurations whose problems all come from a name or a value of the user."""
    known = {"inputs": {name: {"shape": [-1, 3], "dtype": "float32"}}, "outputs": [f"{name}:-1,3:float32"]}
    per_name = ("min_shapes", "opt_shapes", "max_shapes", "value_ranges", "dtypes", "atol", "rtol", "fp16_atol")
    wrong: list[Any] = [False, -1, [], [2, 1], {name: name}, name, None]
    return [
        *({key: {name: value} for key in per_name} for value in wrong),
        {key: [f"{name}={name}"] for key in (*per_name, "engine_count_per_device")},
        dict.fromkeys(schema.options(), name),
        {key: [name, name] for key in schema.options()},
        {**known, **{key: {name: [1], f"{name}1": 1} for key in per_name}},
        {**known, "min_shapes": {name: [9, 3]}, "max_shapes": {name: [1, 3]}},
        {**known, "max_shapes": {name: [1, 4]}, "value_ranges": {name: [2, 1]}, "samples": ["m.npz"]},
        *({"inputs": {name: each}} for each in ({name: 1}, {"shape": [name], "dtype": name}, name, None)),
        {"inputs": [{"name": name, "shape": [1], "dtype": "f4"}, {"name": name, "shape": [1], "dtype": "f4"}]},
        {"engine_count_per_device": {name: 1}},
        {name: 1},
        {"model_name": name},
        {"model_path": name},
        {"model_path": f"missing/{name}"},
        {"models": [{"model_name": "a", "model_path": name, name: 1}], name: 1},
        {"defaults": {name: name}, "models": name},
    ]


# Each ends a line, moves the cursor, reorders or hides text on a terminal, or is no text at all.
@settings(max_examples=5)
@given(st.text(min_size=1, max_size=6))
@example("a\nERROR: forged")
@example("\r\x1b[2K\x07")
@example("a\u202eb\u2028\x85")
@example("\ud800")
@example("\0")
@example("x" * 999)
def test_no_name_leaves_the_line_of_its_problem(directory: Path, name: str) -> None:
    for data in _named_everywhere(name):
        _survives(directory, yaml.safe_dump(data).encode())


def _survives(directory: Path, content: bytes) -> None:
    path = directory / "any.yaml"
    path.write_bytes(content)
    typed = {"model_path": str(directory / "m.onnx"), "model_name": "m"}
    run, problems = _attempt(path, typed, directory)
    assert (run is None) == bool(problems)
    for problem in problems:
        assert problem.message
        assert str(problem).isprintable()
    for model in run.models if run else ():
        for entries in (model.atol, model.rtol):
            assert entries == "auto" or entries.keys() >= {""}
            assert entries == "auto" or all(math.isfinite(each) and each >= 0 for each in entries.values())


def _attempt(
    path: Path | None, typed: dict[str, Any], directory: Path
) -> tuple[RunConfig | None, tuple[config.Problem, ...]]:
    try:
        return config.load(path, typed, working_directory=directory), ()
    except config.InvalidConfigurationError as error:
        return None, error.problems
