# The images of the GitHub action: `slim` validates, plans, reports and releases, `full` also converts, and `tensorrt`
# adds NVIDIA's TensorRT to `full`.
#
# pyproject.toml says which packages are needed, requirements-dev.txt which versions: those that the tests ran with. A
# release passes PYTHON_IMAGE by digest. All stages can be built with Docker's classic builder, which builds the stages
# in this order up to --target. For x86-64 only, like TensorRT for RTX.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM $PYTHON_IMAGE AS base
# A release adds org.opencontainers.image.version and .revision.
LABEL org.opencontainers.image.title="Model Navigator" \
      org.opencontainers.image.description="Converts models and verifies every converted model against its source" \
      org.opencontainers.image.source="https://github.com/org/model-navigator" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# -I: neither files in the workspace nor variables of earlier steps can change what the process with the tokens runs.
ENTRYPOINT ["/usr/local/bin/python", "-I", "/opt/model-navigator/entrypoint.py"]

# Extracts the requirements from files that also change for other reasons, so the layers below stay cached.
FROM base AS requirements
WORKDIR /requirements
COPY pyproject.toml requirements-dev.txt requirements-gpu.txt ./
RUN python -c "import tomllib; \
        project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        print(*project['dependencies'], sep='\n')" > navigator.txt \
    # onnxruntime and onnxruntime-gpu are the same module: only one can be installed.
    && python -c "import tomllib; \
        extras = tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']; \
        wanted = [line for name in ('onnx', 'torch', 'tensorflow', 'tensorrt-rtx') for line in extras[name]]; \
        print(*(line for line in wanted if not line.startswith(('model-navigator', 'onnxruntime'))), sep='\n')" \
        > frameworks.txt \
    && grep '^onnxruntime-gpu' requirements-gpu.txt >> frameworks.txt \
    && grep -v '^onnxruntime-gpu' requirements-gpu.txt > tensorrt.txt \
    && sed '/^# Tools of contributors/,$d; /^#/d' requirements-dev.txt > constraints.txt \
    && rm pyproject.toml requirements-*.txt

FROM base AS package
WORKDIR /source
COPY --from=requirements /requirements/constraints.txt ./
RUN pip install --constraint constraints.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY navigator navigator
RUN pip install --no-deps --no-build-isolation --root /image . \
    && python -m compileall -q --invalidation-mode unchecked-hash /image/usr/local/lib
COPY entrypoint.py /image/opt/model-navigator/

FROM base AS dependencies
WORKDIR /opt/model-navigator
COPY --from=requirements /requirements/navigator.txt /requirements/constraints.txt ./
RUN pip install --constraint constraints.txt --requirement navigator.txt

FROM dependencies AS slim
COPY --from=package /image /

FROM dependencies AS frameworks
COPY --from=requirements /requirements/frameworks.txt ./
RUN pip install --constraint constraints.txt --requirement frameworks.txt

FROM frameworks AS full
# These give the container the runner's GPUs if NVIDIA's runtime is the default of its Docker daemon.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=package /image /

FROM full AS tensorrt
COPY --from=requirements /requirements/tensorrt.txt ./
RUN pip install --extra-index-url https://pypi.nvidia.com --requirement tensorrt.txt
