# The pinned environment in a container, for a processor:
#     docker build --tag ssinfnet .
#     docker run --rm --volume /folder:/data:ro --volume "$PWD/figures:/ssinfnet/figures" ssinfnet \
#         make reproduce STUDY=covid_semiseg_cpu DATA=/data
# For a GPU: --build-arg TORCH= keeps pip's own torch with its CUDA libraries, and run with --gpus all.
FROM python:3.11.13-slim-bookworm

# A C compiler, since PyRadiomics comes as source. No versions: Debian keeps the newest alone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential git make \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 1000 ssinfnet && mkdir /ssinfnet && chown ssinfnet /ssinfnet
USER 1000
WORKDIR /ssinfnet
ENV VIRTUAL_ENV=/home/ssinfnet/venv
ENV PATH="$VIRTUAL_ENV/bin:$PATH"

# A version stands in TORCH itself.
ARG TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
# hadolint ignore=DL3013
RUN python -m venv "$VIRTUAL_ENV" \
    && if [ -n "$TORCH" ]; then pip install --no-cache-dir $TORCH; fi

COPY --chown=ssinfnet . .
RUN PIP_NO_CACHE_DIR=1 make install

CMD ["make", "help"]
