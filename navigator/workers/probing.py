"""The probe: asks the source model which shapes it takes, where neither its file nor the user says it.

Runs it on small inputs first, and goes on while it costs little. `navigator.samples.ladder` says what to try.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from navigator.errors import StepError, UndeclaredError
from navigator.frameworks.declaration import agreed
from navigator.records import AxisSpec, FoundShapes, ModelConfig, Signature, TensorSpec
from navigator.runners.abilities import TakesArguments, TellsValues, Undeclared
from navigator.runners.protocol import LoadedModel, Runner
from navigator.samples.found import block, completed, with_found
from navigator.samples.generate import drawn_from
from navigator.samples.ladder import Kind, Ladder, ladder
from navigator.samples.own_data import inputs_of, read_samples
from navigator.samples.shapes import frames_of, given_shapes, resolve_shapes
from navigator.samples.symbols import Shape, named
from navigator.samples.values import Bounds
from navigator.workers.extents import Extents, first
from navigator.workers.loading import arguments_of
from navigator.workers.questions import Deadline, Questions
from navigator.workers.source_runs import known_axes, others

# All questions together, unless one of them takes longer.
_DEADLINE_SECONDS = 20.0

# Whether to be thorough, and the most sizes: a few show whether the number of axes and the types are wrong.
_TURNS = ((False, 8), (False, None), (True, None))

_NOT_TOLD = "its graph shows none that could be tried"

# The samples were read once already.
_ANY_SIZE = 2**62

# Of inputs whose number of axes nobody says: SavedModels may leave it open.
_SHAPES = ((-1, -1), (-1, 3, -1, -1), (-1, -1, -1, 3), (-1, -1, -1), (-1,))
_MOST_UNRANKED = 2


def ask(model: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig) -> tuple[FoundShapes | None, bool]:
    """Return the shapes that a model takes, None if nothing is to be found, and whether asking changed the model.

    Args:
        model: the source model.
        inputs: its inputs.
        config: the user's shapes, which win.

    Raises:
        StepError: it runs in no shape that was tried, or the user's shapes contradict its signature.
    """
    axes = known_axes(model)
    until = Deadline(_DEADLINE_SECONDS)
    several = [Questions(model=model, bounds=bounds, deadline=until) for bounds in _values(model, inputs, config)]
    ladders = [list(_ladders(ranked, config, axes)) for ranked in _ranked(inputs, config)]
    if all(size.fixed for size in ladders[0][0].sizes):
        return None, False
    likely = ((questions, each[0], False) for questions in several for each in ladders)
    others = ((questions, each, True) for questions in several for ways in ladders for each in ways)
    for questions, wanted, thorough in itertools.chain(likely, others):
        found = first(wanted, questions, thorough=thorough)
        if found is not None:
            break
    else:
        if any(size.high is None and size.kind is not Kind.BATCH for size in ladders[0][0].sizes):
            raise _refused(several[0], ladders[0][0])
        return None, False
    search = Extents(ladder=found[0], questions=questions, low=dict(found[1]), high=dict(found[1]))
    search.run()
    told = completed(config, search.ladder, search.low, search.high, search.step, search.why())
    return (told if _tells_more(inputs, config, axes, told) else None), questions.changed()


def _ladders(
    inputs: Sequence[TensorSpec], config: ModelConfig, axes: Mapping[str, Sequence[AxisSpec]]
) -> Iterator[Ladder]:
    """Yield the ladder that is right for most models, and the other one."""
    frames = frames_of(inputs, config)
    names = named(frames, axes, given_shapes(config))
    yield from (ladder(frames, names, config, states=states) for states in (True, False))


def _ranked(inputs: Sequence[TensorSpec], config: ModelConfig) -> Iterator[Sequence[TensorSpec]]:
    """Yield the inputs with the numbers of axes that nobody says, the likeliest first."""
    unknown = [spec.name for spec in inputs if spec.shape is None and spec.name not in config.max_shapes]
    for several in itertools.product(_SHAPES, repeat=min(len(unknown), _MOST_UNRANKED)):
        shapes = dict(zip(unknown, several, strict=False))
        yield [replace(spec, shape=shapes[spec.name]) if spec.name in shapes else spec for spec in inputs]


def probed(
    config: ModelConfig, load: Callable[..., LoadedModel], runner: Runner
) -> tuple[LoadedModel, ModelConfig, FoundShapes | None]:
    """Return the source model, the configuration with what running it showed, and that alone, None if it's nothing.

    Args:
        config: the user's inputs and shapes, which win.
        load: loads the model.
        runner: the runner of its format.

    Raises:
        StepError: it can't be loaded, runs in no shape that was tried, or the user's shapes contradict its signature.
    """
    assert config.model_format is not None
    if not config.probe:
        return load(), config, None
    model = None if isinstance(runner, Undeclared) and not config.inputs else _loaded(load, runner)
    if model is None:
        assert isinstance(runner, Undeclared)
        model = from_samples(runner, config) if config.samples and not config.inputs else signed(runner, config)
    inputs = agreed("inputs", config.inputs, model.signature.inputs)
    found, changed = None, False
    if not config.samples:
        try:
            found, changed = ask(model, inputs, config)
        except StepError as error:
            raise advised(error, model, inputs, config) from error
    if isinstance(runner, Undeclared) and not config.inputs:
        found = _with_signature(inputs, found or FoundShapes(model_name=config.model_name))
    new = {name: text for name, text in given_to(model).items() if name not in config.arguments}
    if new:
        found = replace(found or FoundShapes(model_name=config.model_name), arguments=new)
    config = with_found(config, found)
    if changed:
        declared = Signature(inputs=config.inputs, outputs=config.outputs)
        model = load(declared=declared, **arguments_of(config))
    return model, config, found


def given_to(model: LoadedModel) -> Mapping[str, str]:
    """Return the values of a model's arguments that aren't tensors."""
    return model.given if isinstance(model, TakesArguments) else {}


def _loaded(load: Callable[..., LoadedModel], runner: Runner) -> LoadedModel | None:
    """Return a model, None if it can be found out what its file and the user leave open."""
    try:
        return load()
    except UndeclaredError:
        if not isinstance(runner, Undeclared):
            raise
        return None


def advised(error: StepError, model: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig) -> StepError:
    """Return the refusal of shapes that the user set, with shapes that the model takes as what to do.

    As it is if the model refuses others too, so that it isn't about them.
    """
    if not config.probe or config.samples or not (config.min_shapes or config.opt_shapes or config.max_shapes):
        return error
    free = replace(config, min_shapes={}, opt_shapes={}, max_shapes={})
    try:
        found, _ = ask(model, inputs, free)
        axes = known_axes(model)
        shapes = resolve_shapes(inputs, with_found(free, found), axes)
        questions = Questions(model=model, bounds=next(_values(model, inputs, free)), deadline=Deadline(math.inf))
        if any(questions.refusal(each) for each in (shapes.min, shapes.opt, shapes.max)):
            return error
    except StepError:
        return error
    known = found or FoundShapes(model_name=config.model_name, min_shapes=shapes.min, max_shapes=shapes.max)
    usual = shapes.opt if config.opt_shapes or shapes.opt != shapes.max else {}
    lines = ", ".join(f"`{line}`" for line in block(replace(known, opt_shapes=usual)))
    return StepError(error.message, f"running the model shows shapes that it takes: set {lines}")


def _with_signature(inputs: Sequence[TensorSpec], found: FoundShapes) -> FoundShapes:
    """Return what was found with the model's inputs: axes that have only one size have it in the signature too."""

    def others(spec: TensorSpec) -> TensorSpec:
        if spec.name not in found.min_shapes:
            return spec
        sizes = zip(found.min_shapes[spec.name], found.max_shapes[spec.name], strict=True)
        return replace(spec, shape=tuple(low if low == high else -1 for low, high in sizes))

    return replace(found, inputs=tuple(map(others, inputs)))


def signed(runner: Undeclared, config: ModelConfig) -> LoadedModel:
    """Return the first of the models that a file may hold, which differ in their signatures, that runs.

    Raises:
        StepError: none does.
    """
    declared = Signature(inputs=config.inputs, outputs=config.outputs)
    whole = Deadline(_DEADLINE_SECONDS)
    refusals: list[str] = []
    # The most that a process has held tells of the first signature only.
    refused: dict[tuple[Shape, ...], int] = {}
    returned: StepError | None = None
    # No turn takes the time of the others.
    for turn, (thorough, most) in enumerate(_TURNS, 1):
        until = replace(whole, seconds=_DEADLINE_SECONDS * turn / len(_TURNS))
        for model in runner.undeclared(config.model_path, declared, config.arguments):
            inputs = model.signature.inputs
            bounds = next(_values(model, inputs, config))
            questions = Questions(model=model, bounds=bounds, deadline=until, refused=refused)
            frames = frames_of(inputs, config)
            if first(
                ladder(frames, named(frames, known_axes(model), {}), config), questions, thorough=thorough, most=most
            ):
                return model
            refusals += list(questions.refusals.values())[:1]
            returned = returned or questions.returned
            if until.over:
                break
        if returned is not None:
            raise returned
        if not refusals and not until.over:
            break
    tried = f"ran with none of {len(refusals)} signatures that were tried: {refusals[0]}" if refusals else _NOT_TOLD
    if config.inputs:
        block = ", ".join(f"{name}: {text}" for name, text in given_to(model).items())
        raise StepError(
            f"{config.model_path.name} doesn't store the values of its arguments, and {tried}",
            f"set them, with your values: `arguments: {{{block}}}`; they're fixed in converted models",
        )
    raise StepError(
        f"{config.model_path.name} doesn't store its inputs, and {tried}",
        f"set inputs in navigator.yaml or {config.model_path.name}.yaml, each as name:shape:dtype with -1 for a "
        'dynamic axis, e.g. `inputs: ["x:-1,3,224,224:float32"]` with your names and shapes, or provide your own '
        "inputs under samples",
    )


def from_samples(runner: Undeclared, config: ModelConfig) -> LoadedModel:
    """Return the model with the inputs that the user's samples have.

    Raises:
        StepError: the files can't be read, differ from each other, or aren't the model's inputs.
    """
    outputs = Signature(inputs=(), outputs=config.outputs)
    guessed = next(iter(runner.undeclared(config.model_path, outputs, config.arguments)), None)
    names = [spec.name for spec in guessed.signature.inputs] if guessed is not None else []
    inputs = inputs_of(config.samples, names, labelled=config.metric is not None)
    dtypes = {spec.name: np.dtype(spec.dtype) for spec in inputs}
    ((_, arrays),) = read_samples(inputs, dtypes, config.samples[:1], _ANY_SIZE, labelled=True)
    refused: StepError | None = None
    for model in runner.undeclared(config.model_path, replace(outputs, inputs=inputs), config.arguments):
        try:
            before = model.infer(arrays)
        except StepError as error:
            refused = refused or error
            continue
        if _takes_more_rows(model, arrays, before):
            inputs = tuple(replace(spec, shape=(-1, *(spec.shape or ())[1:])) for spec in inputs)
            declared = replace(outputs, inputs=inputs)
            return next(iter(runner.undeclared(config.model_path, declared, {**config.arguments, **given_to(model)})))
        return model
    assert refused is not None
    raise refused


def _takes_more_rows(model: LoadedModel, arrays: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray]) -> bool:
    """Return whether axis 0 of all inputs is a batch: with each row twice, the outputs have twice as many."""
    if not all(array.ndim for array in arrays.values()):
        return False
    try:
        after = model.infer({name: np.concatenate([array, array]) for name, array in arrays.items()})
    except StepError:
        return False
    return all(array.ndim and len(after[name]) == 2 * len(array) for name, array in before.items() if name in after)


def _tells_more(
    inputs: Sequence[TensorSpec], config: ModelConfig, axes: Mapping[str, Sequence[AxisSpec]], found: FoundShapes
) -> bool:
    """Return whether these aren't the shapes that would be used anyway."""
    try:
        known = resolve_shapes(inputs, config, axes)
    except StepError:
        return True
    return known != resolve_shapes(inputs, with_found(config, found), axes)


def _values(model: LoadedModel, inputs: Sequence[TensorSpec], config: ModelConfig) -> Iterator[Mapping[str, Bounds]]:
    """Yield the bounds of the values to ask with: those of the samples, and what a guessed range is others to."""
    says = model.told if isinstance(model, TellsValues) else {}
    bounds = drawn_from(inputs, config, says)
    yield bounds
    for other in others(model, inputs, bounds):
        yield drawn_from(inputs, config, {**says, **other})


def _refused(questions: Questions, wanted: Ladder) -> StepError:
    if questions.returned is not None:
        return questions.returned
    shapes, why = next(iter(questions.refusals.items()))
    axes = ", ".join(f"{name} {list(frame)}" for name, frame in wanted.frames.items() if -1 in frame)
    return StepError(
        f"neither its file nor navigator.yaml says how large {axes} gets, and the source model refused all of the "
        f"{len(questions.refusals)} shapes that were tried, {shapes} first: {why}",
        "set min_shapes and max_shapes to sizes that it takes, or provide your own inputs under samples",
    )
