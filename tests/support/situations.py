"""Runs that a reviewer meets, each as the comment on its pull request: what golden files and pictures are made of."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from navigator.config import InvalidConfigurationError, Problem
from navigator.records import (
    Baseline,
    CellResult,
    Change,
    Changes,
    ConversionChange,
    Difference,
    KeyChange,
    KeyKind,
    Measure,
    ModelChange,
    Origin,
    Replacement,
    Report,
    Source,
    State,
    Status,
    Tolerances,
    WorstElement,
)
from navigator.render.comment import ArtifactLink, Links, comment, problem_text
from navigator.report.summary import summarize
from tests.support.builders import a_comparison, a_converted_model, a_host, a_report, a_result, a_source

RUN = "https://github.com/org/models/actions/runs/1"
LINKS = Links(
    run_url=RUN,
    log_url=RUN,
    models=(
        ArtifactLink(
            name="models", url=f"{RUN}/artifacts/2", size_bytes=412 * 2**20, digest=f"sha256:{'9f86d081' * 8}"
        ),
    ),
    results_url=f"{RUN}/artifacts/3",
)
BASE, HEAD = "abc1234" + "0" * 33, "def5678" + "0" * 33
BASELINE = Baseline(found=True, commit=BASE, label="main", relation="merge base", run_url=RUN)
NONE = Baseline(found=False, note="no earlier run of this workflow has results")
HOST = a_host(
    {"model-navigator": "1.0.0", "torch": "2.13.0", "onnx": "1.23.2", "onnxruntime": "1.32.0", "numpy": "2.4.6"},
    python="3.11.9",
    system="Linux 6.8",
    cpu="AMD EPYC 7763",
    cpu_count=4,
    memory_bytes=16 * 2**30,
)
MODELS = ("mobilenetv2", "resnet50", "bert_small", "unet")
LABELS = ("torchscript", "onnx_op13", "onnx_op15", "onnx_op17")

Results = list[CellResult]
Make = Callable[[str, str], CellResult]


def passing(model: str, label: str, *, error: float = 1.2e-6, size_bytes: int = 102_000_000) -> CellResult:
    output = a_comparison(
        "logits",
        max_abs_error=error,
        max_rel_error=3e-5,
        samples=3,
        total=4000,
        reference_min=-12.25,
        reference_max=14.5,
        worst=WorstElement(sample="random0", index=(1, 17), reference=2.5, value=2.5 + error),
    )
    return a_result(
        model_name=model,
        conversion=label,
        status=Status(
            state=State.PASSED, message=f"all outputs within tolerance; largest error {error:.2g} in 'logits'"
        ),
        source_model_config=a_source(model_name=model, size_bytes=101_500_000),
        expected_outputs=("logits",),
        comparisons=(output,),
        output_model=a_converted_model(size_bytes=size_bytes),
    )


def mismatched(model: str, label: str, error: float = 0.031, output: str = "logits") -> CellResult:
    good = passing(model, label)
    wrong = replace(
        good.comparisons[0],
        output=output,
        passed=False,
        mismatched=1240,
        max_abs_error=error,
        max_rel_error=0.12,
        worst=WorstElement(sample="random0", index=(1, 17), reference=2.5, value=2.5 + error),
    )
    said = f"output '{output}': 1240 of 4000 elements differ, largest error {error:.2g} (atol 1e-05, rtol 1e-05)"
    suggested = Tolerances(atol={output: error * 1.05, "": 1e-5}, rtol={"": 1e-5})
    return failing(good, State.MISMATCHED, said, comparisons=(wrong,), suggested_tolerances=suggested)


def failing(result: CellResult, state: State, said: str, **more: Any) -> CellResult:
    """Return what a conversion is instead; without more facts it left no converted model."""
    model, label = result.model_name, result.conversion
    command = f"model-navigator convert --config-path navigator.yaml --models {model} --conversions {label} --verbose"
    step = "verify" if state is State.MISMATCHED else "convert"
    log = Path(f"navigator_workspace/logs/{model}/{label}.{step}.log")
    known = more if state is State.MISMATCHED else {"comparisons": (), "output_model": None} | more
    return replace(result, status=Status(state=state, message=said, log_path=log), reproduce=command, **known)


def unconverted(state: State, said: str, remedy: str = "") -> Make:
    """Return what makes a failure that left no converted model."""
    return lambda model, label: failing(passing(model, label), state, said, remedy=remedy)


def all_of(models: Iterable[str] = MODELS, **special: Make) -> Results:
    """Return a result for each conversion of each model; `special` says what becomes of those of a model."""
    return [special.get(model, passing)(model, label) for model in models for label in LABELS]


def only(*labels: str, otherwise: Make) -> Make:
    """Return what makes some labels' results otherwise than the rest's."""
    return lambda model, label: otherwise(model, label) if label in labels else passing(model, label)


def run(results: Results) -> Report:
    return a_report(*results, host=HOST, seconds=128.4, origin=Origin(commit=HEAD))


def changed(head: Results, base: Results | None = None, **more: Any) -> Changes:
    """Return what changed, where outcomes alone do."""
    before = {(each.model_name, each.conversion): each for each in base or all_of()}
    conversions = [_change(each, before.pop((each.model_name, each.conversion), None)) for each in head]
    conversions += [
        ConversionChange(
            model_name=was.model_name,
            conversion=was.conversion,
            change=Change.REMOVED,
            before=was,
            is_regression=True,
        )
        for was in before.values()
    ]
    return replace(Changes(baseline=BASELINE, conversions=tuple(conversions)), **more)


def _change(after: CellResult, before: CellResult | None) -> ConversionChange:
    good, was_good = (each is not None and each.status.state is State.PASSED for each in (after, before))
    kinds = {(True, True): Change.UNCHANGED, (False, True): Change.BROKEN, (True, False): Change.FIXED}
    change = Change.NEW if before is None else kinds.get((good, was_good), Change.STILL_FAILING)
    return ConversionChange(
        model_name=after.model_name,
        conversion=after.conversion,
        change=change,
        before=before,
        after=after,
        is_regression=change is Change.BROKEN,
    )


def shown(results: Results, changes: Changes | None, **more: Any) -> str:
    return comment(summarize(run(results), changes), key="Models/navigator.yaml", links=LINKS, **more)


def nothing_changed() -> str:
    return shown(all_of(), changed(all_of()))


def all_good() -> str:
    models = (ModelChange(name="mobilenetv2", source=Source.CHANGED),)
    tools = (Replacement(name="onnxruntime", before="1.31.0", after="1.32.0"),)
    return shown(all_of(), changed(all_of(), models=models, tools=tools))


def first_run() -> str:
    return shown(all_of(), Changes(baseline=NONE))


def first_run_with_failures() -> str:
    return shown(all_of(mobilenetv2=only("onnx_op13", "onnx_op15", otherwise=mismatched)), Changes(baseline=NONE))


def one_broken() -> str:
    head = all_of(mobilenetv2=only("onnx_op13", "onnx_op15", otherwise=mismatched))
    models = (ModelChange(name="mobilenetv2", source=Source.CHANGED),)
    return shown(head, changed(head, models=models))


def four_of_16() -> str:
    head = all_of(
        mobilenetv2=only("onnx_op13", "onnx_op15", otherwise=mismatched),
        resnet50=only("onnx_op17", otherwise=lambda model, label: mismatched(model, label, 4.4e-05)),
        unet=only(
            "onnx_op13",
            otherwise=unconverted(
                State.FAILED,
                "torch.onnx: Unsupported: ONNX export of operator grid_sampler, since it's available from opset 16",
                "raise onnx_opsets to at least 16",
            ),
        ),
    )
    tools = (Replacement(name="torch", before="2.12.1", after="2.13.0"),)
    return shown(head, changed(head, tools=tools))


def one_worse() -> str:
    head = all_of()
    grown = Difference(measure=Measure.ERROR, of="logits", before=1.2e-6, after=8.1e-6, limit=1.5e-4)
    heavier = Difference(measure=Measure.SIZE, before=102_000_000, after=136_000_000)
    changes = changed(head)
    conversions = tuple(
        replace(each, change=Change.WORSE, differences=(grown, heavier), is_regression=True)
        if each.model_name == "resnet50" and each.conversion in ("onnx_op13", "onnx_op15")
        else each
        for each in changes.conversions
    )
    return shown(head, replace(changes, conversions=conversions))


def fixed() -> str:
    return shown(all_of(), changed(all_of(), all_of(unet=mismatched)))


def removed() -> str:
    head = [each for each in all_of() if (each.model_name, each.conversion) != ("unet", "onnx_op13")]
    return shown(head, changed(head))


def loosened() -> str:
    keys = (
        KeyChange(key="atol", of="logits", before=1e-5, after=1e-3, kind=KeyKind.LOOSENED, is_regression=True),
        KeyChange(key="sample_count", before=16, after=2, kind=KeyKind.FEWER_SAMPLES, is_regression=True),
    )
    accepted = KeyChange(
        key="rtol", before=1e-5, after=1e-4, kind=KeyKind.LOOSENED, accepted="GELU is approximated on purpose"
    )
    models = (ModelChange(name="mobilenetv2", keys=keys), ModelChange(name="bert_small", keys=(accepted,)))
    return shown(all_of(), changed(all_of(), models=models))


def crash() -> str:
    killed = unconverted(
        State.CRASHED,
        "the worker was killed by signal SIGKILL, most likely since memory ran out",
        "use a runner with more memory, or reduce jobs, max_shapes or memory_limit_bytes",
    )
    head = all_of(bert_small=killed)
    return shown(head, changed(head))


def config_error() -> str:
    path = Path("navigator.yaml")
    error = InvalidConfigurationError(
        [
            Problem(path=path, line=7, column=5, message="unknown key 'onnx_opset'", hint="did you mean onnx_opsets?"),
            Problem(path=path, line=12, column=17, message="model_path: models/unet.pt doesn't exist", hint=""),
        ]
    )
    return problem_text(error, key="Models/navigator.yaml", links=Links(run_url=RUN))


def many() -> str:
    """Return 256 conversions of 64 models, of which all of 15 models fail: each third for another kind of reason."""
    kinds: tuple[Make, ...] = (
        mismatched,
        unconverted(State.FAILED, "tf2onnx: no ONNX operator for 'LookupTableFindV2'"),
        unconverted(State.TIMED_OUT, "stopped after 3600 s", "increase timeout_seconds"),
    )
    models = [f"encoder_{number:02}" for number in range(64)]
    head = all_of(models, **{model: kinds[index % 3] for index, model in enumerate(models[:15])})
    return shown(head, changed(head, all_of(models)))


def many_different() -> str:
    """Return 256 conversions of which 60 of as many models fail, each for a reason of its own."""
    head = []
    for number in range(256):
        model = f"encoder_{number:03}"
        bad = mismatched(model, "onnx_op17", 0.01 * (number + 1), f"output_{number}")
        head.append(bad if number < 60 else passing(model, "onnx_op17"))
    base = [passing(each.model_name, each.conversion) for each in head]
    return shown(head, changed(head, base))


def hostile() -> str:
    name = "</details> <script>alert(1)</script> | `x` @everyone #12\n# **heading** <!-- -->" + "long_name/" * 12
    head = [mismatched(name, label, output=name) for label in (name, "onnx_op13")]
    head += [failing(passing(name, "onnx_op15"), State.FAILED, name, remedy=name)]
    head += all_of(["resnet50"])
    base = [passing(each.model_name, each.conversion) for each in head]
    keys = (KeyChange(key=name, of=name, before=name, after=name, kind=KeyKind.LOOSENED, accepted=name),)
    models = (ModelChange(name=name, source=Source.CHANGED, keys=keys),)
    return shown(head, changed(head, base, models=models), title=name)


SITUATIONS: dict[str, Callable[[], str]] = {
    each.__name__: each
    for each in (
        all_good,
        first_run,
        first_run_with_failures,
        nothing_changed,
        one_broken,
        four_of_16,
        one_worse,
        fixed,
        removed,
        loosened,
        crash,
        config_error,
        many,
        many_different,
        hostile,
    )
}
