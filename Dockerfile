# syntax=docker/dockerfile:1.20@sha256:26147acbda4f14c5add9946e2fd2ed543fc402884fd75146bd342a7f6271dc1d
# The images of scripts/image for people who have Docker: docker build --target gists|plain|installer .
# Files and configuration are the same. The digests are not, because Docker dates its layers. Docker's host is not built with profile
# guidance, and its label says so. `make image` makes images without Docker.
ARG RUST=rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1
# `release` builds quickly, with assertions on.
ARG PROFILE=dist
# For the labels: --build-arg REVISION="$(git rev-parse HEAD)" --build-arg CREATED="$(date -u +%Y-%m-%dT%H:%M:%SZ)"
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown

# The component is the same for every processor: it is built once, on the builder's own.
FROM --platform=${BUILDPLATFORM} ${RUST} AS component
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked --mount=type=cache,target=/src/target,sharing=locked \
    rustup target add wasm32-wasip2 \
    && cargo build --profile dist --locked --package gists --package bench-hello --target wasm32-wasip2 \
    && mkdir /out /probe \
    && cp target/wasm32-wasip2/dist/bench_hello.wasm /probe/probe.wasm \
    && cp target/wasm32-wasip2/dist/gists.wasm /out/gists.wasm \
    && sed 's|^source = .*|source = "gists.wasm"|' spin.toml > /out/spin.toml

# The programs are static, so that they run in an empty image and on any node. The shim's build scripts need protoc.
FROM ${RUST} AS native
ARG PROFILE
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends protobuf-compiler \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked --mount=type=cache,target=/src/target,sharing=locked \
    mkdir /out \
    && scripts/host-flags > /tmp/flags \
    && xargs --arg-file=/tmp/flags cargo rustc --profile "${PROFILE}" --locked --package wasi-http-host --bin wasi-http-host -- \
    && xargs --arg-file=/tmp/flags cargo rustc --profile "${PROFILE}" --locked --package containerd-shim-wasi-http --bin containerd-shim-wasi-http-v1 -- \
    && xargs --arg-file=/tmp/flags cargo rustc --profile "${PROFILE}" --locked --package wasi-http-image-verifier --bin wasi-http-image-verifier -- \
    && xargs --arg-file=/tmp/flags cargo rustc --profile "${PROFILE}" --locked --package wasi-http-installer --bin wasi-http-installer -- \
    && cp "target/${PROFILE}/wasi-http-host" "target/${PROFILE}/containerd-shim-wasi-http-v1" "target/${PROFILE}/wasi-http-image-verifier" "target/${PROFILE}/wasi-http-installer" /out/

# The compiled code that the host would otherwise make at its first start; for the builder's processor.
FROM native AS compiled
COPY --from=component /out/gists.wasm /gists.wasm
RUN /out/wasi-http-host compile --cache-dir /cache /gists.wasm

# What a node gets, and its installer: docker build --target programs --output DIR . (see scripts/kind)
FROM scratch AS programs
COPY --from=native /out/ /

FROM scratch AS installer
ARG PROFILE
ARG VERSION REVISION CREATED
COPY --from=native /out/wasi-http-installer /wasi-http-installer
COPY --from=native /out/containerd-shim-wasi-http-v1 /out/wasi-http-image-verifier /out/wasi-http-host /node/
COPY --from=component /probe/probe.wasm /probe.wasm
LABEL org.opencontainers.image.title="wasi-http installer" \
    org.opencontainers.image.description="Puts the containerd shim wasi-http on a node, and takes it off again" \
    org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION} \
    org.opencontainers.image.created=${CREATED} org.opencontainers.image.licenses=MIT \
    build.wasi-http/profile=${PROFILE} build.wasi-http/profile-guided=false
# It writes to the node's files, which are root's.
# hadolint ignore=DL3002
USER 0:0
ENTRYPOINT ["/wasi-http-installer"]

FROM scratch AS plain
ARG PROFILE
ARG VERSION REVISION CREATED
COPY --from=component /out/ /
COPY --from=native /out/wasi-http-host /wasi-http-host
COPY --from=compiled /cache /cache
LABEL org.opencontainers.image.title="gists API (WebAssembly with its host)" \
    org.opencontainers.image.description="The GitHub Gists API: public gists of a user, paged, cached, observable; an ordinary container, for nodes without the RuntimeClass" \
    org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION} \
    org.opencontainers.image.created=${CREATED} org.opencontainers.image.licenses=MIT \
    build.wasi-http/profile=${PROFILE} build.wasi-http/profile-guided=false
ENV WASI_HTTP_HOST_LISTEN=[::]:8080 \
    WASI_HTTP_HOST_ADMIN_LISTEN=[::]:9090 \
    WASI_HTTP_HOST_CACHE_DIR=/cache
USER 1000:1000
EXPOSE 8080 9090
# For Docker and Podman. Kubernetes ignores it, and asks the admin port itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["/wasi-http-host", "probe"]
ENTRYPOINT ["/wasi-http-host", "serve", "/spin.toml"]

FROM scratch AS gists
ARG VERSION REVISION CREATED
COPY --from=component /out/ /
LABEL org.opencontainers.image.title="gists API (WebAssembly)" \
    org.opencontainers.image.description="The GitHub Gists API: public gists of a user, paged, cached, observable; for the RuntimeClass wasi-http" \
    org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION} \
    org.opencontainers.image.created=${CREATED} org.opencontainers.image.licenses=MIT
USER 1000:1000
EXPOSE 8080 9090
ENTRYPOINT ["/spin.toml"]
