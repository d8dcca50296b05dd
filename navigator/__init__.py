"""Model Navigator: convert a model, verify every conversion against the source model, report.

The flow is `load -> plan -> execute -> verify -> report -> render`; see ARCHITECTURE.md.
"""

__version__ = "1.0.0.dev0"
