"""The edges of the graph of formats: one module a converter, one dictionary that lists them.

A converter is a module that satisfies `Converter`. To add one: write `<source>_to_<target>.py`, add it to
`CONVERTERS`, name its target in `schemas/navigator.schema.json`. Frameworks are imported inside functions only.
"""

from navigator.converters.protocol import Converter

CONVERTERS: dict[str, Converter] = {}
