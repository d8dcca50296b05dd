#!/usr/bin/env bash
# Prepares the results for actions/upload-artifact. Outputs: `directory` of the results, and `suffix`, the shard's part
# of the artifacts' names. Without them nothing is uploaded.
set -euo pipefail

directory=$(dirname "$RESULTS_PATH")
# The upload takes patterns, several in lines, of any file of this machine; a pull request may say where results lie.
if [[ ! $RESULTS_PATH =~ ^[A-Za-z0-9._-][A-Za-z0-9._/\ -]*$ || /$RESULTS_PATH == */../* ]]; then
    echo "::warning::no artifact was uploaded: the workspace_path is not a plain path inside of the workspace"
    exit
fi
suffix=
if [[ $SHARD =~ ^[[:space:]]*0*([0-9]+)/0*([0-9]+)[[:space:]]*$ ]]; then
    suffix=-${BASH_REMATCH[1]}-of-${BASH_REMATCH[2]}
fi
# Models are code, and the upload follows links, out of the workspace too. Nothing of the run is alive any more.
find "./$directory" -type l -print -delete
{
    echo "directory=$directory"
    echo "suffix=$suffix"
} >> "$GITHUB_OUTPUT"
