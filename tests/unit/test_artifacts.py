"""What is refused before anything is sent to an artifact service."""

from pathlib import Path

import pytest

from navigator.github.artifacts.client import Artifacts
from navigator.github.budget import Budget
from navigator.github.rest import PublishError

TOKEN = "e30.eyJzY3AiOiJBY3Rpb25zLlJlc3VsdHM6YTpiIn0.x"  # Actions.Results:a:b
ENVIRONMENT = {"GITHUB_SERVER_URL": "https://github.com", "ACTIONS_RESULTS_URL": "https://results.example/x/"}


def of(environment: dict[str, str] = ENVIRONMENT, token: str = TOKEN, protocol: int = 7) -> Artifacts:
    return Artifacts.of(environment, token, budget=Budget(1), mask=lambda _: None, protocol=protocol)


def refusal(name: str, files: list[tuple[str, Path]], *, archive: bool = True) -> str:
    with pytest.raises(PublishError) as refused:
        of().upload(name, files, retention_days=1, compression_level=1, overwrite=True, archive=archive)
    return str(refused.value)


@pytest.mark.parametrize("url", ["https://github.com", "https://acme.ghe.com", "http://git.localhost:8080"])
def test_github_has_the_service(url: str) -> None:
    of({**ENVIRONMENT, "GITHUB_SERVER_URL": url})


def test_an_enterprise_server_has_none() -> None:
    with pytest.raises(PublishError) as refused:
        of({**ENVIRONMENT, "GITHUB_SERVER_URL": "https://github.acme.com"})
    assert str(refused.value) == (
        "github.acme.com doesn't support artifacts of version 4 or later: only github.com and *.ghe.com do\n"
        "  upload the results directory with actions/upload-artifact@v3 (GitHub Enterprise Server) in a later "
        "step; on other servers that support artifacts, set `artifact_protocol: 4`"
    )


def test_protocol_4_is_for_servers_of_any_name() -> None:
    of({**ENVIRONMENT, "GITHUB_SERVER_URL": "https://gitea.acme.com"}, protocol=4)


@pytest.mark.parametrize(
    ("url", "token", "missing"),
    [("", TOKEN, "ACTIONS_RESULTS_URL"), ("https://results.example", "", "ACTIONS_RUNTIME_TOKEN")],
)
def test_a_step_without_the_runners_variables_has_none(url: str, token: str, missing: str) -> None:
    with pytest.raises(PublishError) as refused:
        of({**ENVIRONMENT, "ACTIONS_RESULTS_URL": url}, token)
    assert str(refused.value) == (
        f"can't upload artifacts: {missing} isn't set. Runners set it for Docker and JavaScript actions "
        "only, not to `run:` steps\n"
        "  upload the results directory with actions/upload-artifact in a later step"
    )


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "e30.e30.x", "e30.W10.x", "e30.eyJzY3AiOjF9.x"])
def test_what_is_no_token_of_a_job_is_refused(token: str) -> None:
    with pytest.raises(PublishError, match="ACTIONS_RUNTIME_TOKEN isn't a job's token"):
        of(token=token)


@pytest.mark.parametrize("scope", ["eyJzY3AiOiJBY3Rpb25zLlJlc3VsdHM6YSJ9", "eyJzY3AiOiJvdGhlciJ9"])
def test_a_token_without_a_right_to_artifacts_is_refused(scope: str) -> None:
    with pytest.raises(PublishError, match=r"doesn't allow artifacts: it has no scope `Actions\.Results:<run>:<job>`"):
        of(token=f"e30.{scope}.x")


def test_a_name_that_no_artifact_can_have_is_refused(tmp_path: Path) -> None:
    assert refusal('a/b:"c', [("f", tmp_path / "f")]) == (
        "'a/b:\"c' isn't a valid artifact name: it contains '\"' ':' '/'\n"
        '  set `artifact_name` to a name without " : < > | * ? \\ / and line breaks'
    )
    assert refusal("", []).startswith("'' isn't a valid artifact name: it is empty\n")


def test_files_that_make_no_artifact_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "f"
    assert refusal("a", []) == "the artifact 'a' would have no files"
    assert refusal("a", [("f", file), ("f", file)]) == "the artifact 'a' would have two files 'f'"
    assert refusal("a", [("f?", file)]) == "'f?' can't be part of an artifact: its path contains '?'"
    assert refusal("a", [("f", file), ("g", file)], archive=False) == (
        "the artifact 'a' has 2 files: only an archive can have several"
    )
