"""Writes the variants of action.yml, and the images that they run.

    python tools/actions.py                                                          in the repository
    python tools/actions.py --image model-navigator:full --slim model-navigator:slim    with images of this daemon

`slim/` runs the image without frameworks. `gpu/` runs the image with GPUs, which a Docker action can't request.
`convert/` repeats the action for the reusable workflow, because `uses: $/` can't name the repository's root. All have
exactly the inputs and outputs of action.yml. In the repository action.yml names the Dockerfile. A release names
images in a registry, because a runner always builds the last stage, and names them by digest: see tools/tag.py.
"""

import argparse
import re
import sys
from pathlib import Path

# Made by `docker build --target slim --tag model-navigator:slim .`, as a Dockerfile in slim/ can't copy the package.
DEVELOPMENT_SLIM = "model-navigator:slim"

_DOCKERFILE = "../Dockerfile # zizmor: ignore[unpinned-images] no image of a registry"

_GENERATED = "# Written by tools/actions.py from action.yml.\n"
# Dependabot updates the pin there, and nowhere else.
_PINNED = Path(__file__).parents[1] / "gpu" / "action.yml"

_GPU_INPUTS = """\
  image:
    description: >-
      Image to run. Defaults to the image with TensorRT.
    default: "{image}"
  docker_options:
    description: >-
      Options for `docker run`, separated by spaces. Leave empty if NVIDIA's is the daemon's default runtime.
    default: --gpus all
"""

# In a first attempt, another job of the run made an artifact that is in the way: it isn't replaced.
# Steps of a composite action get no runtime token, so GitHub's own action uploads the models. It knows no results: the
# artifact also has the models that didn't pass.
_GPU_RUNS = """\
runs:
  using: composite
  steps:
    - id: run
      shell: bash
      # exec: the runner signals this process alone when a job is cancelled.
      run: exec bash "$GITHUB_ACTION_PATH/run.sh"
      env:
        IMAGE: ${{{{ inputs.image }}}}
        DOCKER_OPTIONS: ${{{{ inputs.docker_options }}}}
{environment}
    - id: kept
      if: always() && inputs.artifacts != 'none' && steps.run.outputs.results_path != ''
      shell: bash
      run: exec bash "$GITHUB_ACTION_PATH/kept.sh"
      env:
        SHARD: ${{{{ inputs.shard }}}}
        RESULTS_PATH: ${{{{ steps.run.outputs.results_path }}}}
    - id: results
      if: always() && steps.kept.outputs.directory != ''
      uses: {upload}
      with:
        name: ${{{{ steps.run.outputs.artifact_name }}}}-{what}${{{{ steps.kept.outputs.suffix }}}}
        path: |
          ${{{{ steps.run.outputs.results_path }}}}
          ${{{{ steps.run.outputs.summary_path }}}}
          ${{{{ steps.run.outputs.page_path }}}}
        retention-days: ${{{{ inputs.retention_days }}}}
        overwrite: ${{{{ inputs.overwrite == 'true' && github.run_attempt != '1' }}}}
    - id: models
      if: always() && steps.kept.outputs.directory != '' && inputs.command == 'convert'
      uses: {upload}
      with:
        name: ${{{{ steps.run.outputs.artifact_name }}}}-models${{{{ steps.kept.outputs.suffix }}}}
        path: ${{{{ steps.run.outputs.models_path }}}}
        if-no-files-found: ignore
        retention-days: ${{{{ inputs.retention_days }}}}
        compression-level: ${{{{ inputs.compression_level }}}}
        overwrite: ${{{{ inputs.overwrite == 'true' && github.run_attempt != '1' }}}}
    - id: logs
      if: always() && steps.kept.outputs.directory != '' && inputs.artifacts == 'all'
      uses: {upload}
      with:
        name: ${{{{ steps.run.outputs.artifact_name }}}}-logs${{{{ steps.kept.outputs.suffix }}}}
        path: ${{{{ steps.kept.outputs.directory }}}}/logs
        if-no-files-found: ignore
        retention-days: ${{{{ inputs.retention_days }}}}
        overwrite: ${{{{ inputs.overwrite == 'true' && github.run_attempt != '1' }}}}
"""

# No rehearsal is taken for the results of its commit.
_WHAT = "${{ inputs.command == 'rehearse' && 'rehearsal' || 'results' }}"

# Of the upload, and not of the step that runs the image.
_UPLOADED = {
    "artifact_id": "models.outputs.artifact-id",
    "artifact_url": "models.outputs.artifact-url",
    "artifact_digest": "models.outputs.artifact-digest && format('sha256:{0}', steps.models.outputs.artifact-digest)",
    "results_artifact_id": "results.outputs.artifact-id",
}


def slim(action: str, image: str) -> str:
    """Return action.yml with the image without frameworks.

    Args:
        action: the text of action.yml.
        image: the image's name, in a registry or in the daemon.
    """
    text = re.sub(r"^name: .*", "name: Model Navigator, slim", action, count=1, flags=re.MULTILINE)
    about = "Model Navigator without frameworks, a small, fast image to validate, plan, report and release."
    text = re.sub(r"^description: .*", f"description: {about}", text, count=1, flags=re.MULTILINE)
    return _GENERATED + named(text, f"docker://{image}")


def gpu(action: str, image: str) -> str:
    """Return a composite action that runs an image with GPUs.

    Args:
        action: the text of action.yml.
        image: the image's name, in a registry or in the daemon; "" builds the repository's Dockerfile.
    """
    inputs, outputs = _block(action, "inputs"), _block(action, "outputs")
    names = re.findall(r"^  (\w+):$", inputs, re.MULTILINE)
    environment = "\n".join(f"        INPUT_{name.upper()}: ${{{{ inputs.{name} }}}}" for name in names)
    return (
        f"{_GENERATED}"
        "name: Model Navigator, GPU\n"
        "description: Model Navigator for GPU runners, started with `docker run --gpus all`.\n"
        "author: Model Navigator contributors\n\n"
        f"inputs:\n{inputs.rstrip()}\n{_GPU_INPUTS.format(image=image)}\n"
        f"outputs:\n{_valued(outputs)}\n"
        f"{_GPU_RUNS.format(environment=environment, upload=_upload(), what=_WHAT)}"
    )


def named(action: str, image: str) -> str:
    """Return a Docker action that runs `image`: `docker://` and its name, or the path of a Dockerfile."""
    return re.sub(r"^  image: .*", f"  image: {image}", action, count=1, flags=re.MULTILINE)


def _upload() -> str:
    found = re.search(r"uses: (actions/upload-artifact@[0-9a-f]{40} # v[\d.]+)", _PINNED.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{_PINNED} doesn't pin actions/upload-artifact")
    return found[1]


def _block(action: str, name: str) -> str:
    found = re.search(rf"^{name}:\n((?:(?:  .*)?\n)+)", action, re.MULTILINE)
    if found is None:
        raise SystemExit(f"action.yml has no `{name}:`")
    return found[1]


def _valued(outputs: str) -> str:
    parts = re.split(r"^  (\w+):\n", outputs.rstrip() + "\n", flags=re.MULTILINE)[1:]
    lines = []
    for name, about in zip(parts[::2], parts[1::2], strict=True):
        value = _UPLOADED.get(name, f"run.outputs.{name}")
        lines.append(f"  {name}:\n{about}    value: ${{{{ steps.{value} }}}}\n")
    return "".join(lines)


def files(image: str, slim_image: str) -> dict[Path, str]:
    """Return the texts of the actions, by their paths in the working directory.

    Args:
        image: the image that they run; "" keeps action.yml, and makes the others build the Dockerfile.
        slim_image: the image that slim/ runs.
    """
    path = Path("action.yml")
    action = path.read_text(encoding="utf-8")
    if image:
        action = named(action, f"docker://{image}")
    return {
        path: action,
        Path("convert/action.yml"): _GENERATED + (action if image else named(action, _DOCKERFILE)),
        Path("slim/action.yml"): slim(action, slim_image),
        Path("gpu/action.yml"): gpu(action, image),
    }


def write(image: str, slim_image: str) -> None:
    """Write the actions that `files` returns."""
    for path, text in files(image, slim_image).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def main() -> int:
    """Write the actions in the working directory, the repository's root."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default="", help="image that the actions run (default: build the Dockerfile)")
    parser.add_argument("--slim", default=DEVELOPMENT_SLIM, help="image that slim/ runs (default: %(default)s)")
    arguments = parser.parse_args()
    write(arguments.image, arguments.slim)
    return 0


if __name__ == "__main__":
    sys.exit(main())
