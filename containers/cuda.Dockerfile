# crsdun for machines with an NVIDIA GPU: command line and explorer, from package registries alone. The host brings a driver
# for CUDA 13 and the NVIDIA Container Toolkit; the CUDA libraries come with PyTorch from PyPI.
#
#   docker build -f containers/cuda.Dockerfile -t crsdun:cuda .
#   docker run --rm --gpus all -v "$PWD:/data" crsdun:cuda reconstruct meas.mat --mask mask.mat --out result
#   docker run --rm --gpus all -v "$PWD:/data" -p 127.0.0.1:8628:8628 crsdun:cuda app --host 0.0.0.0 --no-browser
#
# Results belong to whoever runs it with --user "$(id -u):$(id -g)". What the image holds: /opt/crsdun/share/crsdun.cdx.json.

FROM python:3.11-slim-bookworm AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src src
RUN python3 -m venv /opt/crsdun
RUN /opt/crsdun/bin/pip install --no-cache-dir -c constraints.txt ".[app,classes,demo,hub,tiff,video,zarr]"
RUN python3 -m venv /opt/sbom
RUN /opt/sbom/bin/pip install --no-cache-dir cyclonedx-bom==7.5.0
RUN mkdir -p /opt/crsdun/share
RUN /opt/sbom/bin/cyclonedx-py environment /opt/crsdun/bin/python3 --output-format JSON --output-file /opt/crsdun/share/crsdun.cdx.json

FROM python:3.11-slim-bookworm
# The compiler makes kernels for the processor that runs the container, once, in seconds.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/crsdun /opt/crsdun
RUN useradd --create-home --uid 1000 crsdun
RUN install -d -o crsdun /data
# So that any user may run it: a folder that everybody can write to. Mount one of your own to keep what lies there.
RUN install -d -m 1777 /cache
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ENV PATH=/opt/crsdun/bin:$PATH CRSDUN_CACHE=/cache/crsdun HF_HOME=/cache/huggingface MPLCONFIGDIR=/cache/matplotlib
USER crsdun
WORKDIR /data
RUN crsdun --version
ENTRYPOINT ["crsdun"]
CMD ["--help"]
