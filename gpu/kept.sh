#!/usr/bin/env bash
# Prepares the results for actions/upload-artifact. Outputs: `directory` of the results, and `suffix`, the shard in the
# artifacts' names. Without these outputs nothing is uploaded.
set -euo pipefail

directory=$(dirname "$RESULTS_PATH")
# The upload takes patterns, one a line, that can match any file of this machine, and a pull request sets this path.
if [[ ! $RESULTS_PATH =~ ^[A-Za-z0-9._-][A-Za-z0-9._/\ -]*$ || /$RESULTS_PATH == */../* ]]; then
    echo "::warning::no artifact was uploaded: workspace_path must be a plain path inside the workspace"
    exit
fi
suffix=
if [[ $SHARD =~ ^[[:space:]]*0*([0-9]+)/0*([0-9]+)[[:space:]]*$ ]]; then
    suffix=-${BASH_REMATCH[1]}-of-${BASH_REMATCH[2]}
fi
# Models are code, and the upload follows links, even out of the workspace. No process of the run is left.
find "./$directory" -type l -print -delete
{
    echo "directory=$directory"
    echo "suffix=$suffix"
} >> "$GITHUB_OUTPUT"
