"""Whole runs with limits of the user's for what a reduced precision keeps."""

from pathlib import Path

from tests.run.test_calibration import PLAIN, results


def test_a_limit_of_the_users_fails_what_tolerances_accept(tmp_path: Path) -> None:
    limits = ("--int8-gates", "cosine=100%", "sqnr_db=1", "--scores", "y", "--top-k", "2")
    code, found = results(tmp_path, PLAIN, "--samples", "0.npy", "1.npy", *limits, "--no-fail-on-unverified")

    int8 = found["onnx_int8_single"]
    (comparison,) = int8["comparisons"]
    assert (code, int8["status"]["state"], comparison["mismatched"]) == (1, "mismatched", 0)
    assert int8["status"]["message"].startswith("output 'y': cosine is 0.9")
    assert int8["status"]["message"].endswith(", beyond your limit of 1")
    assert [(gate["measure"], gate["kept"]) for gate in comparison["gates"]] == [("cosine", False), ("sqnr_db", True)]
    decided = comparison["agreement"]["decisions"]
    assert (decided["count"], decided["top_k"], decided["divergence"]) == (2, 2, None)
