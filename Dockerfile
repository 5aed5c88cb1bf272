# syntax=docker/dockerfile:1
# Two images from one file:  docker build --target api .   docker build --target worker .
# For a machine with NVIDIA GPUs add  --build-arg TORCH_INDEX=https://pypi.org/simple  (torch with CUDA, ~4 GB more).

FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/assay/bin:$PATH
# lightgbm and scikit-learn bring no OpenMP runtime of their own for every platform.  The version is not pinned: the
# tag of the base image fixes the Debian release, and security fixes must come in.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin assay \
    && install -d -o assay -g assay /data


FROM base AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /src
RUN python -m venv /opt/assay
# dependencies first: this layer is rebuilt only when the lock or pyproject.toml change
COPY pyproject.toml constraints.txt ./
COPY scripts/requirements.py scripts/
RUN python scripts/requirements.py > requirements.txt \
    && pip install --no-cache-dir -r requirements.txt -c constraints.txt --extra-index-url "$TORCH_INDEX"
COPY README.md LICENSE ./
COPY assay assay
COPY search_spaces search_spaces
COPY app app
COPY workers workers
COPY migrations migrations
RUN pip install --no-cache-dir --no-deps . \
    && pip check \
    && python -m compileall -q -j 0 /opt/assay/lib


FROM base AS runtime
COPY --from=build /opt/assay /opt/assay
# One thread a fit and no spinning; several fits share a machine (OpenMP reads these when it is loaded).
ENV ASSAY_HOME=/data \
    HOME=/data \
    OMP_NUM_THREADS=1 \
    OMP_WAIT_POLICY=passive
WORKDIR /data
USER 10001:10001
ENTRYPOINT ["assay"]


FROM runtime AS worker
# SIGTERM: children are stopped and their leases released, so that another worker goes on at once
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 \
    CMD ["python", "-m", "workers.health"]
CMD ["worker", "--lane", "cpu"]


FROM runtime AS api
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["serve", "--api-only", "--host", "0.0.0.0", "--port", "8000"]
