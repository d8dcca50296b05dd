"""In which order torch sorts equal values: it doesn't say, and it depends on the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

# A torch object; the types of the package differ between supported versions.
_Torch = Any


@dataclass(slots=True)
class Met:
    """Whether equal values were sorted."""

    equal: bool = False


@contextmanager
def ordered(*, rotated: bool) -> Iterator[Met]:
    """Sort equal values by their positions; or, `rotated`, each where the one before it would be, and the first last.

    No value is at the same place in both, if it has equals. Applies to sort, argsort, msort and topk, in TorchScript
    and torch.export as well, unless they are stable.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    met, aten = Met(), torch.ops.aten

    class Ordering(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(
            self, operation: _Torch, _types: _Torch, args: _Torch = (), kwargs: _Torch = None
        ) -> _Torch:
            given = {each.name: each.default_value for each in operation._schema.arguments}
            given |= dict(zip(given, args, strict=False)) | (kwargs or {})
            undefined = operation in (aten.sort.default, aten.sort.stable) and not given.get("stable")
            if undefined or operation is aten.topk.default:
                descending = given["descending"] if undefined else given["largest"]
                return _sorted(given["self"], given["dim"], given.get("k"), descending=descending)
            return operation(*args, **(kwargs or {}))

    def _sorted(values: _Torch, axis: int, count: int | None, *, descending: bool) -> tuple[_Torch, _Torch]:
        found, indices = torch.sort(values, dim=axis, descending=descending, stable=True)
        if values.ndim and values.numel():
            following = _following(found.movedim(axis, -1))
            met.equal |= bool((following != torch.arange(following.shape[-1], device=following.device)).any())
            if rotated:
                indices = indices.gather(axis, following.movedim(-1, axis))
        kept = found.shape[axis] if values.ndim and count is None else count
        if not values.ndim:
            return found, indices
        # As torch returns them: a view of a part of a tensor may be refused.
        return found.narrow(axis, 0, kept).contiguous(), indices.narrow(axis, 0, kept).contiguous()

    with Ordering():
        yield met


def _following(values: _Torch) -> _Torch:
    """Return the position after each, or for the last of some equal ones, that of the first; along the last axis."""
    import torch

    places = torch.arange(values.shape[-1], device=values.device).expand(values.shape)
    differs = values[..., 1:] != values[..., :-1]
    edge = torch.ones_like(values[..., :1], dtype=torch.bool)
    first = torch.where(torch.cat([edge, differs], -1), places, 0).cummax(-1).values
    return torch.where(torch.cat([differs, edge], -1), first, places + 1)
