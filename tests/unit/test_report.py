"""What makes a run succeed, and convert_results.yaml as a user, a schema and another YAML reader see it."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from navigator import plain_data
from navigator.errors import ConfigurationError, ExitCode
from navigator.records import (
    CellResult,
    Comparison,
    ConversionConfig,
    Format,
    Given,
    Gpu,
    Host,
    Origin,
    OutputModel,
    Properties,
    Report,
    SampleInfo,
    Seconds,
    Selection,
    Signature,
    SourceModel,
    State,
    Status,
    TensorRTConfig,
    TensorSpec,
    Tolerances,
    Weights,
    WorstElement,
    WrongWeight,
    to_data,
)
from navigator.report import storage
from navigator.report.report import broken_off
from navigator.report.summary import summarize
from tests.support.builders import a_report, a_result

ROOT = Path(__file__).parents[2]
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "convert_results.schema.json").read_text())
EVERY_STATE = ROOT / "tests" / "cases" / "render" / "every_state.yaml"
FAILED = (State.FAILED, State.MISMATCHED, State.CRASHED, State.TIMED_OUT, State.BLOCKED)
PASSED = a_result(State.PASSED)

JUDGED = [
    pytest.param((PASSED,), ExitCode.OK, id="passed"),
    *(pytest.param((PASSED, a_result(state)), ExitCode.FAILURE, id=f"requested {state}") for state in FAILED),
    *(
        pytest.param((PASSED, a_result(state, requested=False)), ExitCode.FAILURE, id=f"default format {state}")
        for state in FAILED
    ),
    pytest.param((PASSED, a_result(State.UNAVAILABLE)), ExitCode.FAILURE, id="requested unavailable"),
    pytest.param((PASSED, a_result(State.UNAVAILABLE, requested=False)), ExitCode.OK, id="default format unavailable"),
    pytest.param((PASSED, a_result(State.NOT_APPLICABLE)), ExitCode.OK, id="requested not applicable"),
    pytest.param((PASSED, a_result(State.UNVERIFIED)), ExitCode.OK, id="unverified"),
    pytest.param((PASSED, a_result(State.CANCELLED)), ExitCode.CANCELLED, id="cancelled"),
    pytest.param((a_result(State.FAILED), a_result(State.CANCELLED)), ExitCode.CANCELLED, id="failed and cancelled"),
    pytest.param((), ExitCode.NOTHING_TO_DO, id="no cell"),
    pytest.param((a_result(State.NOT_APPLICABLE),), ExitCode.NOTHING_TO_DO, id="only not applicable"),
    pytest.param(
        (a_result(State.NOT_APPLICABLE), a_result(State.UNAVAILABLE, requested=False)),
        ExitCode.NOTHING_TO_DO,
        id="nothing that this machine can make",
    ),
    pytest.param((a_result(State.UNAVAILABLE),), ExitCode.FAILURE, id="only requested unavailable"),
]


@pytest.mark.parametrize(("results", "expected"), JUDGED)
def test_the_exit_code_follows_from_the_requested_conversions(
    results: tuple[CellResult, ...], expected: ExitCode
) -> None:
    assert summarize(a_report(*results)).exit_code is expected


@pytest.mark.parametrize("state", [state for state in State if state is not State.PASSED])
def test_every_state_is_judged(state: State) -> None:
    neutral = (State.NOT_APPLICABLE, State.UNVERIFIED)
    judged = summarize(a_report(a_result(state)))
    assert (len(judged.failed), len(judged.others)) == ((0, 1) if state in neutral else (1, 0))


def test_a_run_that_did_not_end_is_no_success() -> None:
    assert summarize(a_report(PASSED, complete=False)).exit_code is ExitCode.CANCELLED
    assert summarize(a_report(PASSED, a_result(State.FAILED), complete=False)).exit_code is ExitCode.FAILURE


def test_the_summary_counts_each_state_requests_and_warnings() -> None:
    built = a_report(
        replace(PASSED, cached=True),
        replace(PASSED, warnings=("weak",)),
        a_result(State.FAILED),
        a_result(State.UNAVAILABLE, requested=False),
    )
    assert built.summary == {
        "total": 4,
        "requested": 3,
        "failures": 1,
        "cached": 1,
        "warned": 1,
        "passed": 2,
        "failed": 1,
        "unavailable": 1,
    }


def test_a_report_round_trips(tmp_path: Path) -> None:
    every = storage.read(EVERY_STATE)
    storage.write(every, tmp_path / "convert_results.yaml")
    assert storage.read(tmp_path / "convert_results.yaml") == every
    assert {result.status.state for result in every.results} == set(State), "the case covers every state"
    assert [path.name for path in tmp_path.iterdir()] == ["convert_results.yaml"]


def test_keys_keep_the_order_of_the_records(tmp_path: Path) -> None:
    storage.write(a_report(PASSED), tmp_path / "r.yaml")
    data = yaml.safe_load((tmp_path / "r.yaml").read_text())
    assert list(data) == [field.name for field in fields(Report)]
    assert list(data["results"][0]) == [field.name for field in fields(CellResult)]
    assert list(data["summary"])[:2] == ["total", "requested"]


def test_no_result_is_an_empty_list(tmp_path: Path) -> None:
    storage.write(a_report(), tmp_path / "r.yaml")
    assert yaml.safe_load((tmp_path / "r.yaml").read_text())["results"] == []
    assert storage.read(tmp_path / "r.yaml") == a_report()


def test_texts_and_numbers_survive_every_yaml_reader(tmp_path: Path) -> None:
    names = [
        "1e5",
        "1e-05",
        "0o17",
        "on",
        "~",
        "null",
        "",
        "- x",
        "a: b",
        "#",
        "'",
        "é\u2028x",
        "\x1b[31m",
        "tab\t",
        "😀",
    ]
    message = "first line\n  second: line\n\nlast  \n"
    result = a_result(
        State.FAILED,
        status=Status(state=State.FAILED, message=message, log_path=Path("/tmp/a b: c")),
        comparator_config=Tolerances(atol=dict.fromkeys(names, 1e-05), rtol={"": 1e22, "small": 5e-324}),
        warnings=tuple(names),
    )
    path = tmp_path / "r.yaml"
    storage.write(a_report(result), path)
    assert storage.read(path) == a_report(result)
    text = path.read_text()
    # In YAML 1.1 a float needs a dot, in YAML 1.2 it does not: a text that looks like one is quoted for both.
    assert "1.0e-05" in text
    assert not re.search(r": 1e-05$", text, re.MULTILINE)
    assert "- '1e5'\n" in text
    assert "- '0o17'\n" in text


def test_a_path_that_is_no_utf_8_does_not_stop_the_report(tmp_path: Path) -> None:
    result = a_result(State.FAILED, status=Status(state=State.FAILED, log_path=Path("/tmp/\udcff.log")))
    storage.write(a_report(result), tmp_path / "r.yaml")
    assert yaml.safe_load((tmp_path / "r.yaml").read_text())["results"][0]["status"]["log_path"] == "/tmp/?.log"


def test_sentences_and_shapes_stay_on_one_line(tmp_path: Path) -> None:
    result = a_result(
        State.FAILED,
        status=Status(state=State.FAILED, message="word " * 100 + "end"),
        samples=(SampleInfo(name="max", shapes={"x": (8, 3, 224, 224)}),),
    )
    storage.write(a_report(result), tmp_path / "r.yaml")
    text = (tmp_path / "r.yaml").read_text()
    assert f"message: {'word ' * 100}end\n" in text
    assert "x: [8, 3, 224, 224]\n" in text


def test_writing_replaces_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    storage.write(a_report(PASSED), path)
    with path.open() as earlier:
        storage.write(a_report(PASSED, a_result(State.FAILED)), path)
        assert len(yaml.safe_load(earlier)["results"]) == 1, "a reader keeps the whole earlier report"
    assert len(storage.read(path).results) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file or directory"),
        ("results: [", "not a results file"),
        ("- 1\n", "not a results file: it has no version"),
        ("version: 2\n", "this is version 2 of convert_results.yaml, not 1"),
        ("version: 1\n", "missing required field `environment`"),
        ("version: 1\nnotes: &a [x]\nmore: [*a, *a]\n", "a YAML alias isn't allowed here"),
        ("version: 1\nnotes: &a {<<: *a}\n", "a YAML alias isn't allowed here"),
        (f"version: 1\nnotes: {'[' * 200_000}", "more than 32 levels"),
        (f"version: 1\nnotes: {'9' * 10_000}\n", "line 2: the number '999"),
        ("version: !!int ''\n", "line 1: a YAML tag isn't allowed here"),
        ("version: 1\nnotes: !!timestamp foo\n", "line 2: a YAML tag isn't allowed here"),
        ("version: 1\nversion: 1\n", "line 2: the key 'version' is there twice"),
        ("version: 1\n? [a]\n: 1\n", "line 2: a key is a list or a mapping, not text"),
        ("version: 1\n---\nversion: 1\n", "line 2: a second YAML document starts here"),
        ("version: 1\nnotes: \0\n", "line 2: control characters are not allowed"),
        ("version: '\\e[31m'\nnotes: []\n", "this is version '\\\\e[31m' of"),
        ("\ufeffversion: 2\n", "this is version 2 of"),
    ],
)
def test_what_is_not_a_report_is_said(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "r.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        storage.read(path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_a_report_in_another_encoding_is_said(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes("version: 1\nnotes: [é]\n".encode(encoding))
    with pytest.raises(ConfigurationError, match=r"line \d: byte 0x[0-9a-f]{2} isn't valid UTF-8"):
        storage.read(path)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("seconds", ".inf", ".inf' isn't a finite number"),
        ("seconds", "-.nan", "Expected `float`, got `str` - at `$.seconds`"),
        ("seconds", "1.0e+999", "'1.0e+999' isn't a finite number"),
        ("seconds", "-1", "Expected `float` >= 0.0 - at `$.seconds`"),
        ("seconds", "1.0e+308", "Expected `float` <= 1000000000.0 - at `$.seconds`"),
        ("seconds", f"1{':59' * 200_000}", "Expected `float`, got `str` - at `$.seconds`"),
        ("seconds", f"0x{'f' * 200_000}", "has more than 64 bits"),
        ("seconds", "2001-99-99", "Expected `float`, got `str` - at `$.seconds`"),
        ("seconds", "true", "Expected `float`, got `bool` - at `$.seconds`"),
        ("  peak_memory_bytes", "-1", "Expected `int` >= 0 - at `$.results[1].peak_memory_bytes`"),
        ("  peak_memory_bytes", "18446744073709551616", "has more than 64 bits"),
    ],
)
def test_a_number_that_cannot_be_meant_is_said_with_its_line(tmp_path: Path, key: str, value: str, said: str) -> None:
    path = tmp_path / "r.yaml"
    storage.write(a_report(PASSED, a_result(State.FAILED)), path)
    lines = path.read_text().split("\n")
    at = max(number for number, line in enumerate(lines) if line.startswith(f"{key}:"))
    lines[at] = f"{key}: {value}"
    path.write_text("\n".join(lines))
    with pytest.raises(ConfigurationError, match=re.escape(said)) as caught:
        storage.read(path)
    assert f": line {at + 1}: " in caught.value.message
    assert len(caught.value.message) < 500


@pytest.mark.parametrize("many", ["[],", "a,", "{a: b},"])
def test_the_time_to_read_a_report_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: str) -> None:
    monkeypatch.setattr(plain_data, "_MOST_VALUES", 1_000)
    path = tmp_path / "r.yaml"
    path.write_text(f"version: 1\nnotes: [{many * 5_000}]\n")
    with pytest.raises(ConfigurationError, match="line 2: more than 1,000 values"):
        storage.read(path)


def test_a_report_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    with path.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(ConfigurationError, match="not a results file: larger than 64 MiB"):
        storage.read(path)


def test_a_pass_without_evidence_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    storage.write(a_report(a_result(State.FAILED)), path)
    path.write_text(path.read_text().replace("state: failed", "state: passed"))
    with pytest.raises(ConfigurationError, match="passed without an artifact"):
        storage.read(path)


def test_reports_fit_the_schema(tmp_path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    validator = jsonschema.Draft202012Validator(SCHEMA)
    validator.validate(yaml.safe_load(EVERY_STATE.read_text()))
    storage.write(a_report(PASSED), tmp_path / "r.yaml")
    validator.validate(yaml.safe_load((tmp_path / "r.yaml").read_text()))


def test_what_is_the_same_in_a_report_is_formatted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formatted, dump = [], yaml.dump

    def counted(data: Any, **options: Any) -> Any:
        formatted.append(data)
        return dump(data, **options)

    monkeypatch.setattr(yaml, "dump", counted)
    names = [f"m{number}" for number in range(50)]
    results = [replace(PASSED, model_name=name) for name in names]
    file = storage.ResultsFile(tmp_path / "one.yaml")
    file.write(a_report(*results, models=[Given(model_name=name, sha256="a" * 64, options={}) for name in names]))
    formatted.clear()
    results[7] = replace(a_result(State.FAILED), model_name="m7")
    again = a_report(*results, models=[Given(model_name=name, sha256="a" * 64, options={}) for name in names])
    file.write(again)
    assert [list(each) if isinstance(each, dict) else each[0]["model_name"] for each in formatted] == [
        ["summary"],
        "m7",
    ]
    storage.write(again, tmp_path / "two.yaml")
    assert (tmp_path / "one.yaml").read_text() == (tmp_path / "two.yaml").read_text()


def test_a_shard_fits_the_schema_and_comes_back(tmp_path: Path) -> None:
    part = a_report(PASSED, shard="3/7")
    storage.write(part, tmp_path / "r.yaml")
    jsonschema.validate(yaml.safe_load((tmp_path / "r.yaml").read_text()), SCHEMA)
    assert storage.read(tmp_path / "r.yaml").shard == "3/7"


def test_the_schema_refuses_a_pass_without_evidence() -> None:
    data = json.loads(json.dumps(to_data(a_report(a_result(State.FAILED)))))
    data["results"][0]["status"]["state"] = "passed"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, SCHEMA)


@pytest.mark.parametrize(
    ("place", "record"),
    [
        ("", Report),
        ("environment", Host),
        ("origin", Origin),
        ("selection", Selection),
        ("gpu", Gpu),
        ("result", CellResult),
        ("source_model", SourceModel),
        ("conversion_config", ConversionConfig),
        ("tensorrt_config", TensorRTConfig),
        ("status", Status),
        ("tolerances", Tolerances),
        ("sample", SampleInfo),
        ("comparison", Comparison),
        ("worst", WorstElement),
        ("weights", Weights),
        ("wrong_weight", WrongWeight),
        ("output_model", OutputModel),
        ("signature", Signature),
        ("tensor", TensorSpec),
    ],
)
def test_schema_keys_are_the_records_fields(place: str, record: Any) -> None:
    described = SCHEMA["$defs"][place] if place else SCHEMA
    names = [field.name for field in fields(record)]
    assert list(described["properties"]) == names
    assert described["required"] == names
    assert described["additionalProperties"] is False


def test_the_schema_knows_every_property_of_a_converted_model() -> None:
    described = SCHEMA["$defs"]["properties"]
    assert list(described["properties"]) == [field.name for field in msgspec.structs.fields(Properties)]
    assert described["additionalProperties"] is False
    assert "required" not in described


def test_the_schema_knows_every_state_and_format_and_describes_every_key() -> None:
    definitions = SCHEMA["$defs"]
    assert definitions["status"]["properties"]["state"]["enum"] == [str(state) for state in State]
    assert set(State) <= set(SCHEMA["properties"]["summary"]["properties"])
    assert definitions["format"]["enum"] == [str(each) for each in Format]
    assert list(definitions["result"]["properties"]["seconds"]["properties"]) == [each.name for each in fields(Seconds)]
    for place in (SCHEMA, *definitions.values()):
        for name, key in place.get("properties", {}).items():
            target = definitions[key["$ref"].rpartition("/")[2]] if "$ref" in key else {}
            assert key.get("description") or target.get("description") or name == "version", name


def test_what_a_broken_off_run_did_not_finish_crashed() -> None:
    passed, cancelled = a_result(), a_result(State.CANCELLED)
    report = broken_off(a_report(passed, cancelled, complete=False), "killed by signal 9", "add memory")
    assert report.results[0] == passed
    assert (report.results[1].status.state, report.results[1].remedy) == (State.CRASHED, "add memory")
    assert report.results[1].status.message == "not finished: killed by signal 9"
    assert (report.summary[State.PASSED], report.summary[State.CRASHED]) == (1, 1)
    assert report.notes == ("Unfinished: killed by signal 9",)


def test_results_are_found_below_a_directory_but_not_through_links(tmp_path: Path) -> None:
    for name in ("a", "b/c", "report"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / storage.RESULTS).write_text("version: 1")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / storage.RESULTS).symlink_to(tmp_path / "a" / storage.RESULTS)
    (tmp_path / "elsewhere").symlink_to(tmp_path / "a")

    found = {str(path.relative_to(tmp_path)) for path in storage.found_below(tmp_path, skip=tmp_path / "report")}

    assert found == {f"a/{storage.RESULTS}", f"b/c/{storage.RESULTS}"}
    assert [*storage.found_below(tmp_path / "a" / storage.RESULTS, skip=tmp_path)] == [tmp_path / "a" / storage.RESULTS]
    with pytest.raises(ConfigurationError, match="nowhere does not exist"):
        next(storage.found_below(tmp_path / "nowhere"))
