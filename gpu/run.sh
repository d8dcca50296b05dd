#!/usr/bin/env bash
# Runs $IMAGE as GitHub's runner runs a Docker action, and adds $DOCKER_OPTIONS.
#
# Files have the same paths in the container as on the runner, so no path has to be translated. Values are passed in
# this process's environment and never on a command line, which others can read.
set -euo pipefail

if [ -z "$IMAGE" ]; then
    IMAGE=model-navigator:tensorrt
    docker build --tag "$IMAGE" "$GITHUB_ACTION_PATH/.."
fi

# Steps of a composite action have no runtime token, so the next steps upload the artifacts.
export INPUT_ARTIFACTS=none
export GITHUB_ACTIONS=true

read -r -a options <<< "$DOCKER_OPTIONS"
while IFS= read -r name; do
    case $name in
        INPUT_* | GITHUB_* | RUNNER_* | CI | [Hh][Tt][Tt][Pp]_[Pp][Rr][Oo][Xx][Yy] | [Hh][Tt][Tt][Pp][Ss]_[Pp][Rr][Oo][Xx][Yy] | [Nn][Oo]_[Pp][Rr][Oo][Xx][Yy])
            options+=(--env "$name") ;;
    esac
done < <(compgen -e)

mount() { options+=(--mount "type=bind,source=$1,target=$1"); }
mount "$GITHUB_WORKSPACE"
mount "$RUNNER_TEMP"
# Other runners than GitHub's, such as act, have these outside the temporary directory.
for file in "$GITHUB_OUTPUT" "$GITHUB_EVENT_PATH"; do
    directory=$(dirname "$file")
    case $directory/ in
        "$RUNNER_TEMP"/* | "${mounted:-/none}"/) ;;
        *) mount "$directory"; mounted=$directory ;;
    esac
done
if [ "$INPUT_DOCKER" = true ]; then
    mount /var/run/docker.sock
fi

# `exec` without a terminal: the client gets the runner's signals and passes them on (--sig-proxy).
exec docker run --rm --workdir "$GITHUB_WORKSPACE" "${options[@]}" "$IMAGE"
