#!/usr/bin/env bash
# What a person does without a tool: a fresh process for every conversion and one for every comparison.
#
#     benchmarks/by_hand.sh FILE DIRECTORY [PYTHON]
#
# It knows the same tricks as benchmarks/plain_process.py, so that only the processes differ.
set -euo pipefail

file=$1 directory=$2 python=${3:-python}
here=$(dirname "$0")
export TF2ONNX_CATCH_ERRORS=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_MMAP_THRESHOLD_=8000000000
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES='' OMP_WAIT_POLICY=PASSIVE

good=0 total=0
matrix=$("$python" "$here/matrix.py" "$file")
while IFS=$'\t' read -r model path format target opset signature; do
    # PyTorch looks at a copy's suffix.
    if [ "$opset" = - ]; then label=$target.${path##*.}; else label=onnx_op$opset; fi
    artifact=$directory/$model/$label
    mkdir -p "$directory/$model"
    if [ "$opset" = - ]; then
        cp -r "$path" "$artifact"
    elif [ "$format" = tf-savedmodel ]; then
        "$python" -m tf2onnx.convert --saved-model "$path" --output "$artifact" --opset "$opset" \
            --tag serve --signature_def "$signature" >"$artifact.log" 2>&1
    else
        "$python" "$here/one_step.py" convert "$file" "$model" "$artifact" "$opset" 2>"$artifact.log"
    fi </dev/null
    total=$((total + 1))
    if "$python" "$here/one_step.py" compare "$file" "$model" "$artifact" "$target" </dev/null 2>>"$artifact.log"; then
        good=$((good + 1))
    fi
done <<<"$matrix"
echo "$good/$total conversions passed"
[ "$good" = "$total" ]
