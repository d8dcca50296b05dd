"""The verdict on a converted model's outputs; after a mismatch, what excuses it is looked for in turn."""

from collections.abc import Collection
from dataclasses import replace

from navigator.engine import rounding
from navigator.engine.outcomes import Reference
from navigator.engine.own_device import of_source
from navigator.engine.step_context import StepContext, outputs_in
from navigator.engine.subject import Subject
from navigator.engine.sums import summed
from navigator.engine.undecided import decided_alike
from navigator.records import Device, Format, Precision, Verdict
from navigator.verify import devices, sums, unstable
from navigator.verify.compare import verify
from navigator.verify.decisions import Scores
from navigator.verify.exceptions import Rounded
from navigator.verify.gates import gates_of
from navigator.verify.outputs import Outputs, always_empty
from navigator.verify.ties import all_settled
from navigator.verify.tolerances import least_sqnr_db, rounding_limit, tolerances, units_of
from navigator.workers import ties


class Judgement:
    """The verdict on what a converted model returned on one device, which `excuse` may turn.

    Args:
        subject: what is verified.
        device: where it ran.
        expected: all outputs of the source model, of which tolerances are made.
        actual: those of the converted model, for the samples to compare.
        overruled: the outputs whose default tolerances the user's metric overrules.
        context: where models can be run again.
    """

    def __init__(
        self,
        subject: Subject,
        device: Device,
        expected: Outputs,
        actual: Outputs,
        *,
        overruled: Collection[str],
        context: StepContext,
    ) -> None:
        self._subject = subject
        self._device = device
        self._expected = expected
        self._overruled = frozenset(overruled)
        self._context = context
        self._left_out: tuple[str, ...] = ()
        self.reference = subject.reference
        self.wanted: Outputs = subject.compared(expected)
        equal = outputs_in(self.reference.outputs / ties.DIRECTORY, context.memory_bytes)
        # The outputs of the converted model, with the source model's where it defines none.
        self._settled: Outputs = actual if isinstance(equal, str) else all_settled(self.wanted, actual, equal)
        self.verdict = self._compared(self.reference)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of the verdict, and the samples that are left out."""
        return (*self.verdict.warnings, *self._left_out)

    def excuse(self) -> None:
        """Look for what excuses a mismatch, the cheapest first."""
        step = self._subject.step
        if not self.verdict.passed and self._subject.together and self._device is Device.CPU:
            self._measure_where_it_fails()
        if not self.verdict.passed and self._device is Device.CPU:
            self._add_exactly()
        if not self.verdict.passed:
            self._settle_what_rounding_decides()
        if not self.verdict.passed and self._device is Device.CUDA:
            self._run_the_source_there()
        if step.precision is Precision.FP16 and any(each.mismatched for each in self.verdict.comparisons):
            self._round_to_fp16()

    def _measure_where_it_fails(self) -> None:
        """Allow for the source model's rounding on the very samples that fail, if they pass then.

        Those that it changes by more than any tolerance are left out.
        """
        model, step = self._subject.model, self._subject.step
        more = rounding.measured_where_it_fails(
            model, step, self.reference, self.wanted, self._settled, context=self._context
        )
        if more is None:
            return
        before = self.wanted, self._settled
        self._leave_out(more.unstable)
        again = self._compared(more.reference)
        if again.passed:
            self.verdict, self.reference = again, more.reference
            self._left_out = tuple(unstable.warnings(more.unstable))
        else:
            self.wanted, self._settled = before

    def _add_exactly(self) -> None:
        """Compare the samples that fail with exact sums, if what a runtime rounds there is all that is in between."""
        exactly = summed(self._subject, self.reference, self.wanted, self._settled, context=self._context)
        if exactly is None or not any(sums.warnings(self._settled, exactly)):
            return
        before = self._settled, self.verdict
        self._settled = exactly
        self.verdict = self._compared(self.reference)
        if not self.verdict.passed and self._subject.together:
            self._measure_where_it_fails()
        if self.verdict.passed:
            self._left_out = (*self._left_out, *sums.warnings(before[0], self._settled))
        else:
            self._settled, self.verdict = before

    def _settle_what_rounding_decides(self) -> None:
        """Leave out elements that only rounding decides, if all others match."""
        alike = decided_alike(self._subject, self.reference, self.wanted, self._settled, context=self._context)
        if alike is None:
            return
        differed, self._settled = self._settled, alike[0]
        again = self._compared(self.reference)
        if again.passed:
            self.verdict = replace(again, warnings=(*again.warnings, *alike[1]))
        else:
            self._settled = differed

    def _run_the_source_there(self) -> None:
        """Allow for what the GPU changes in the source model, and leave out samples that it doesn't define there."""
        own = of_source(self._subject, self.wanted, context=self._context)
        if own is None:
            return
        self._leave_out(own.apart)
        self.reference = replace(self.reference, noise=own.noise)
        self.verdict = self._compared(self.reference)
        self._left_out = tuple(devices.notes(own.apart))

    def _leave_out(self, found: tuple[devices.Disagreement, ...]) -> None:
        names = {each.sample for each in found}
        self.wanted, self._settled = (
            [each for each in sets if each[0] not in names] for sets in (self.wanted, self._settled)
        )

    def _round_to_fp16(self) -> None:
        """Allow for what the rounding of fp16 changes in the ONNX file that computes in it."""
        model, step, onnx = self._subject.model, self._subject.step, self._subject.onnx
        if not onnx:
            return
        itself = self._device is Device.CPU and step.target_format is Format.ONNX
        rounded = rounding.of_fp16(
            model, step, self.reference, onnx, self.wanted, self._settled, itself=itself, context=self._context
        )
        self.verdict = self._compared(self.reference, rounded)

    def _compared(self, reference: Reference, rounded: Rounded | None = None) -> Verdict:
        model, step = self._subject.model, self._subject.step
        allowed = tolerances(model, step.precision, self._expected, reference.noise)
        return verify(
            self.wanted,
            self._settled,
            atol=allowed.atol,
            rtol=allowed.rtol,
            units=units_of(model, step.precision, self._expected),
            least_sqnr_db=least_sqnr_db(model, step.precision, self.wanted),
            rounded=rounded,
            measured=step.precision is not Precision.FP32,
            scores=Scores(axes=model.scores, top_k=model.top_k),
            gates=gates_of(model, step.precision),
            overruled=self._overruled,
            # The CPU is where it was measured.
            noise=rounding.applied(model, step, reference) if self._device is Device.CPU else {},
            rounding_limit=rounding_limit(step.precision),
            empty=always_empty(model, reference.signature.outputs),
        )
