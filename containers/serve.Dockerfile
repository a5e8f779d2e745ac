# The service, for machines without a GPU, from package registries alone.
#
#   docker build -f containers/serve.Dockerfile -t crsdun:serve .
#   docker run --rm -p 127.0.0.1:8629:8629 -e CRSDUN_TOKEN="$(openssl rand -hex 24)" crsdun:serve crsdun_small
#   docker run --rm -p 127.0.0.1:8629:8629 -v "$PWD:/data:ro" crsdun:serve crsdun_small \
#     --token-file /data/token --camera lab=/data/camera.npz
#
# It listens on all addresses of the container and so wants a token. Requests lie in /tmp while they are decoded.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
# PyTorch without CUDA; PyPI has that for few processors only.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python3 -m venv /opt/crsdun
RUN /opt/crsdun/bin/pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -c constraints.txt ".[serve,tiff]"

FROM python:3.11-slim-bookworm
# The compiler makes kernels for the processor that runs the container, once, in seconds.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/crsdun /opt/crsdun
RUN useradd --create-home --uid 1000 crsdun
RUN install -d -m 1777 /cache
ENV PATH=/opt/crsdun/bin:$PATH CRSDUN_CACHE=/cache/crsdun MPLCONFIGDIR=/cache/matplotlib
USER crsdun
WORKDIR /data
RUN crsdun serve --help > /dev/null
EXPOSE 8629
# Whether it runs is not whether it decodes: an orchestrator asks /ready before it sends requests.
HEALTHCHECK --start-period=60s CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8629/health', timeout=5)"]
ENTRYPOINT ["crsdun", "serve", "--host", "0.0.0.0"]
CMD ["crsdun_small"]
