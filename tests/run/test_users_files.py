"""Every option that names a place to write, at directories full of the user's files and at links to them.

Nothing of the user's is changed or lost, whatever the exit code.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from navigator.cli import main
from navigator.engine.workspace import Workspace
from tests.run.test_surroundings import TINY

USERS = (
    "notes.txt",
    "summary.md",
    "convert_results.yaml",
    ".convert_results.yaml.tmp",
    ".summary.md.tmp",
    ".lock",
    ".scratch/thesis.tex",
    "converted/tiny/onnx_op17/mine.onnx",
    "logs/tiny/onnx_op17.convert.log",
    "timing/mine",
    "tmp/old/mine",
    "saved_model.pb",
    "model.onnx",
    "model.onnx.data",
    "best.onnx",
)

RESULTS = Path(__file__).parents[1] / "cases/render/good.yaml"


@pytest.fixture
def home(project: Path) -> Path:
    """A repository with a tiny model."""
    (project / ".git").mkdir()
    (project / "navigator.yaml").write_text(TINY)
    return project


def fill(directory: Path) -> None:
    for name in USERS:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"the user's {name}\n")


def everything(directory: Path) -> dict[str, tuple[int, int, bytes | str]]:
    """Return mode, owner and content of all that is in a directory."""
    found: dict[str, tuple[int, int, bytes | str]] = {}
    for path in sorted(directory.rglob("*")):
        state = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else b"" if path.is_dir() else path.read_bytes()
        found[str(path.relative_to(directory))] = (state.st_mode, state.st_uid, content)
    return found


def assert_kept(before: dict[str, Any], directory: Path) -> None:
    after = everything(directory)
    assert {name: after.get(name) for name in before} == before


COMMANDS = {
    "--workspace-path": ["convert", "--workspace-path"],
    "--workspace-path, cleaned": ["convert", "--override-workspace", "--workspace-path"],
    "--cache-path": ["convert", "--cache-path"],
    "--output-path": ["convert", "--output-path"],
    "--output-package": ["convert", "--output-package"],
    "--output": ["report", str(RESULTS), "--output"],
}


@pytest.mark.fault(
    "An option names a directory of your files, or a link to it",
    "Exit code 2, or files are added. Nothing of yours is replaced or removed.",
)
@pytest.mark.parametrize("form", ["directory", "dot", "link", "below a link"])
@pytest.mark.parametrize("option", COMMANDS)
def test_a_directory_of_the_users(home: Path, option: str, form: str) -> None:
    theirs = home if form == "dot" else home / "theirs"
    theirs.mkdir(exist_ok=True)
    fill(theirs)
    (home / "link").symlink_to("theirs")
    given = {"directory": "theirs", "dot": ".", "link": "link", "below a link": "link/converted"}[form]
    before = everything(home)

    main([*COMMANDS[option], given])

    assert_kept(before, home)


@pytest.mark.parametrize("option", COMMANDS)
def test_a_link_out_of_the_repository(
    home: Path, option: str, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (home / "link").symlink_to(elsewhere)

    code = main([*COMMANDS[option], "link/new"])

    assert [*elsewhere.iterdir()] == []
    assert code == 2
    assert f"leads out of the repository, through a symbolic link to {elsewhere}/new" in capsys.readouterr().err


@pytest.mark.fault(
    "The workspace is a committed link out of the repository",
    "Exit code 2. Nothing is written there.",
)
@pytest.mark.parametrize("command", [["convert"], ["convert", "--override-workspace"], ["report", str(RESULTS)]])
def test_a_committed_link_instead_of_the_default(
    home: Path, command: list[str], tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    fill(elsewhere)
    before = everything(elsewhere)
    for name in ("navigator_workspace", "navigator_report"):
        (home / name).symlink_to(elsewhere)

    assert main(command) == 2

    assert everything(elsewhere) == before
    assert "leads out of the repository" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["converted", "logs", "timing", ".scratch", "converted/tiny", "logs/tiny"])
@pytest.mark.parametrize("clean", [False, True])
def test_a_committed_workspace_with_links(home: Path, name: str, clean: bool) -> None:
    """A pull request may commit our marker, too."""
    theirs = home / "theirs"
    fill(theirs)
    link = home / "navigator_workspace" / name
    link.parent.mkdir(parents=True)
    (home / "navigator_workspace/.model-navigator").touch()
    link.symlink_to(theirs)
    before = everything(theirs)

    main(["convert", *(["--override-workspace"] if clean else [])])

    assert everything(theirs) == before


@pytest.mark.parametrize(
    "name", [".lock", "summary.md", "convert_results.yaml", ".summary.md.tmp", ".convert_results.yaml.tmp"]
)
def test_a_committed_workspace_with_links_to_files(home: Path, name: str) -> None:
    (home / "theirs").write_text("the user's")
    (home / "navigator_workspace").mkdir()
    (home / "navigator_workspace/.model-navigator").touch()
    (home / "navigator_workspace" / name).symlink_to("../theirs")

    main(["convert"])

    assert (home / "theirs").read_text() == "the user's"


def test_the_sentence_says_what_is_there_and_what_to_do(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "theirs").mkdir()
    (home / "theirs/notes.txt").touch()

    assert main(["convert", "--workspace-path", "theirs"]) == 2
    assert capsys.readouterr().err == (
        f"workspace {home}/theirs contains files that Model Navigator didn't write: notes.txt\n"
        "  choose a new or an empty directory with workspace_path\n"
    )
    assert main(["report", str(RESULTS), "--output", "."]) == 0
    (home / "theirs/summary.md").touch()
    assert main(["report", str(RESULTS), "--output", "theirs"]) == 2
    assert "the report would replace summary.md, which Model Navigator didn't write" in capsys.readouterr().err


def test_what_an_older_version_made_is_a_workspace(home: Path) -> None:
    """It had no marker, but results."""
    assert main(["convert"]) == 0
    (home / "navigator_workspace/.model-navigator").unlink()

    assert main(["convert"]) == 0
    assert (home / "navigator_workspace/.model-navigator").is_file()


def test_a_new_directory_may_hold_what_git_needs(home: Path) -> None:
    (home / "navigator_workspace").mkdir()
    (home / "navigator_workspace/.gitignore").write_text("*\n")

    assert main(["convert"]) == 0
    assert main(["convert", "--override-workspace"]) == 0
    assert (home / "navigator_workspace/.gitignore").read_text() == "*\n"


def test_a_workspace_is_not_one_by_its_names(home: Path) -> None:
    (home / "navigator_workspace/converted").mkdir(parents=True)
    (home / "navigator_workspace/.lock").touch()
    (home / "navigator_workspace/convert_results.yaml").write_text("mine: true\n")
    with pytest.raises(Exception, match=r"didn't write: \.lock, convert_results\.yaml, converted"):
        Workspace(home / "navigator_workspace", clean=False)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("notes.txt", "notes.txt is a file of another format"),
        ("link.onnx", "link.onnx is a symbolic link"),
        ("theirs", "theirs is a directory"),
    ],
)
def test_output_path_replaces_nothing_of_the_users(convert: Any, home: Path, name: str, why: str) -> None:
    (home / "notes.txt").write_text("mine")
    (home / "link.onnx").symlink_to("notes.txt")
    (home / "theirs").mkdir()
    before = everything(home)

    code, results = convert(f"{TINY}output_path: {name}\n")

    assert code == 1
    assert any(why in note for note in results["notes"])
    del before["navigator.yaml"]
    assert_kept(before, home)


def test_output_path_replaces_an_earlier_model_and_what_stands_for_one(convert: Any, home: Path) -> None:
    for content in (None, b"", b"version https://git-lfs.github.com/spec/v1\n"):
        if content is not None:
            (home / "best.onnx").write_bytes(content)
        code, _ = convert(f"{TINY}output_path: best.onnx\n")
        assert code == 0
        made = home / "navigator_workspace/converted/tiny/onnx_op13/model.onnx"
        assert (home / "best.onnx").read_bytes() == made.read_bytes()
    assert not [*home.glob(".model-navigator-*")]


def test_a_saved_model_with_other_files_is_kept(tmp_path: Path) -> None:
    from navigator.engine.output_path import _copy

    made, theirs = tmp_path / "made", tmp_path / "theirs"
    (made / "variables").mkdir(parents=True)
    (made / "saved_model.pb").write_bytes(b"new")
    shutil.copytree(made, theirs)
    (theirs / "saved_model.pb").write_bytes(b"old")
    (theirs / "training.log").write_text("mine")
    with pytest.raises(FileExistsError, match=r"theirs also has training\.log"):
        _copy(made, theirs)
    assert (theirs / "saved_model.pb").read_bytes() == b"old"
    (theirs / "training.log").unlink()
    _copy(made, theirs)
    assert (theirs / "saved_model.pb").read_bytes() == b"new"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["made", "theirs"]


def test_external_data_replaces_no_file_that_belongs_to_no_model(tmp_path: Path, tiny_onnx: Path) -> None:
    from navigator.engine.output_path import _copy

    (tmp_path / "made").mkdir()
    shutil.copy(tiny_onnx, tmp_path / "made/model.onnx")
    (tmp_path / "made/model.onnx.data").write_bytes(b"weights")
    (tmp_path / "model.onnx.data").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"model\.onnx\.data belongs to no model"):
        _copy(tmp_path / "made/model.onnx", tmp_path / "best.onnx")
    assert (tmp_path / "model.onnx.data").read_bytes() == b"mine"
    assert not (tmp_path / "best.onnx").exists()
