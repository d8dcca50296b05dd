"""Runs that a reviewer meets, each as the comment on its pull request: what golden files and pictures are made of."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from navigator.changes.base import Base, described, without
from navigator.changes.compare import compare
from navigator.config import InvalidConfigurationError, Problem
from navigator.records import (
    CellResult,
    FailOn,
    Given,
    Host,
    Origin,
    Report,
    Rules,
    State,
    Status,
    Tolerances,
    WorstElement,
)
from navigator.render.comment import ArtifactLink, Links, comment, problem_text
from navigator.report.summary import summarize
from tests.support.builders import a_comparison, a_converted_model, a_host, a_report, a_result, a_source
from tests.support.comparisons import given

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


def passing(
    model: str, label: str, *, error: float = 1.2e-6, size_bytes: int = 102_000_000, atol: float = 1e-5
) -> CellResult:
    output = a_comparison(
        "logits",
        atol=atol,
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
    said = f"output '{output}': 1,240 of 4,000 elements differ, largest error {error:.2g} (atol 1e-05, rtol 1e-05)"
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


def run(results: Results, commit: str = HEAD, **more: Any) -> Report:
    """Return a run of these results; `more` has what was given of models otherwise than usual, or versions of tools."""
    names = dict.fromkeys(each.model_name for each in results)
    usual = {name: given(name, sha256=f"{index:064x}") for index, name in enumerate(names)}
    models = tuple((usual | more.pop("models", {})).values())
    usually: dict[str, Any] = {
        "host": HOST,
        "seconds": 128.4,
        "origin": Origin(commit=commit),
        "rules": Rules(),
        "models": models,
    }
    return a_report(*results, **usually | more)


def shown(head: Report, base: Report | None = None, **more: Any) -> str:
    """Return the comment on a run, compared with a base or without one."""
    changes = without("no earlier run of this workflow has results")
    if base is not None:
        told = replace(described(base), label="main", relation="merge base", run_url=RUN)
        changes = compare(head, Base(report=base, told=told))
    return comment(summarize(head, changes), key="Models/navigator.yaml", links=LINKS, **more)


GOOD = run(all_of(), BASE)


def known(*models: str, **options: Any) -> dict[str, Given]:
    """Return what was given of some models, with the usual files and these options."""
    return {name: given(name, sha256=f"{MODELS.index(name):064x}", **options) for name in models}


def with_tools(**versions: str) -> Host:
    return replace(HOST, versions={**HOST.versions, **versions})


def nothing_changed() -> str:
    return shown(run(all_of()), GOOD)


def all_good() -> str:
    base = run(all_of(), BASE, host=with_tools(onnxruntime="1.31.0"))
    return shown(run(all_of(), models={"mobilenetv2": given("mobilenetv2", sha256="f")}), base)


def first_run() -> str:
    return shown(run(all_of()))


def first_run_with_failures() -> str:
    return shown(run(all_of(mobilenetv2=only("onnx_op13", "onnx_op15", otherwise=mismatched))))


def one_broken() -> str:
    head = all_of(mobilenetv2=only("onnx_op13", "onnx_op15", otherwise=mismatched))
    return shown(run(head, models={"mobilenetv2": given("mobilenetv2", sha256="f")}), GOOD)


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
    return shown(run(head), run(all_of(), BASE, host=with_tools(torch="2.12.1")))


def one_worse() -> str:
    def grown(model: str, label: str) -> CellResult:
        return passing(model, label, atol=1e-3, error=8.1e-4, size_bytes=136_000_000)

    base = all_of(resnet50=lambda model, label: passing(model, label, atol=1e-3))
    return shown(run(all_of(resnet50=only("onnx_op13", "onnx_op15", otherwise=grown))), run(base, BASE))


def fixed() -> str:
    return shown(run(all_of()), run(all_of(unet=mismatched), BASE))


def still_failing() -> str:
    head = all_of(unet=only("onnx_op13", otherwise=mismatched))
    strict = Rules(fail_on=FailOn.REGRESSION)
    return shown(run(head, rules=strict), run(head, BASE, rules=strict))


def removed() -> str:
    head = [each for each in all_of() if (each.model_name, each.conversion) != ("unet", "onnx_op13")]
    return shown(run(head, models=known("unet", onnx_opsets=[15, 17])), GOOD)


def loosened() -> str:
    """Return a run with wider tolerances, of which the configuration accepts one."""
    rules = Rules(accept={"loosened bert_small/atol": "GELU is approximated here"})
    before, after = {"atol": {"": 1e-5}, "rtol": {"": 1e-5}}, {"atol": {"": 1e-3}, "rtol": {"": 1e-5}}

    return shown(
        run(all_of(), models=known("mobilenetv2", "bert_small", **after, samples=["cat.npz"]), rules=rules),
        run(all_of(), BASE, models=known("mobilenetv2", "bert_small", **before, samples=["cat.npz", "dog.npz"])),
    )


def crash() -> str:
    killed = unconverted(
        State.CRASHED,
        "the worker was killed by signal SIGKILL, most likely since memory ran out",
        "use a runner with more memory, or reduce jobs, max_shapes or memory_limit_bytes",
    )
    return shown(run(all_of(bert_small=killed)), GOOD)


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
    return shown(run(head), run(all_of(models), BASE))


def many_different() -> str:
    """Return 256 conversions of which 60 of as many models fail, each for a reason of its own."""
    models = [f"encoder_{number:03}" for number in range(256)]
    base = [passing(model, "onnx_op17") for model in models]
    bad = [mismatched(model, "onnx_op17", 0.01 * (n + 1), f"output_{n}") for n, model in enumerate(models[:60])]
    return shown(run([*bad, *base[60:]]), run(base, BASE))


def hostile() -> str:
    name = "</details> <script>alert(1)</script> | `x` @everyone #12\n# **heading** <!-- -->" + "long_name/" * 12
    head = [mismatched(name, label, output=name) for label in (name, "onnx_op13")]
    head += [failing(passing(name, "onnx_op15"), State.FAILED, name, remedy=name), *all_of(["resnet50"])]
    base = [passing(each.model_name, each.conversion) for each in head]
    models = {name: given(name, sha256="f", atol={"": 1e-5, name: 1.0}, samples=name)}
    tools = with_tools(**{name: name})
    return shown(run(head, models=models, host=tools), run(base, BASE, models={name: given(name)}), title=name)


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
        still_failing,
        removed,
        loosened,
        crash,
        config_error,
        many,
        many_different,
        hostile,
    )
}
