# syntax=docker/dockerfile:1
# The images of scripts/image for people who have Docker: docker build --target gists|plain|installer .
# The files and the configuration are the same; the digests are not, as Docker dates its layers.
# Without Docker: make image.
ARG RUST=rust:1.95.0-bookworm

# The component is the same for every processor: it is built once, on the builder's own.
FROM --platform=${BUILDPLATFORM} ${RUST} AS component
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked --mount=type=cache,target=/src/target,sharing=locked \
    rustup target add wasm32-wasip2 \
    && cargo build --profile dist --locked --package gists --target wasm32-wasip2 \
    && mkdir /out \
    && cp target/wasm32-wasip2/dist/gists.wasm /out/gists.wasm \
    && sed 's|^source = .*|source = "gists.wasm"|' spin.toml > /out/spin.toml

# The programs need no library: what holds them may be empty, or any node.
FROM ${RUST} AS native
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked --mount=type=cache,target=/src/target,sharing=locked \
    mkdir /out \
    && scripts/host-flags > /tmp/flags \
    && xargs --arg-file=/tmp/flags cargo rustc --release --locked --package wasi-http-host --bin wasi-http-host -- \
    && xargs --arg-file=/tmp/flags cargo rustc --release --locked --package containerd-shim-wasi-http --bin containerd-shim-wasi-http-v1 -- \
    && xargs --arg-file=/tmp/flags cargo rustc --release --locked --package wasi-http-installer --bin wasi-http-installer -- \
    && cp target/release/wasi-http-host target/release/containerd-shim-wasi-http-v1 target/release/wasi-http-installer /out/

# What the host would compile at the first start; for the processor of the builder.
FROM native AS compiled
COPY --from=component /out/gists.wasm /gists.wasm
RUN /out/wasi-http-host compile --cache-dir /cache /gists.wasm

# What a node gets, and what puts it there: docker build --target programs --output DIR . (see scripts/kind)
FROM scratch AS programs
COPY --from=native /out/ /

FROM scratch AS installer
COPY --from=native /out/wasi-http-installer /wasi-http-installer
COPY --from=native /out/containerd-shim-wasi-http-v1 /out/wasi-http-host /node/
# It writes to the node's files, which are root's.
# hadolint ignore=DL3002
USER 0:0
ENTRYPOINT ["/wasi-http-installer"]

FROM scratch AS plain
COPY --from=component /out/ /
COPY --from=native /out/wasi-http-host /wasi-http-host
COPY --from=compiled /cache /cache
ENV WASI_HTTP_HOST_LISTEN=[::]:8080 \
    WASI_HTTP_HOST_ADMIN_LISTEN=[::]:9090 \
    WASI_HTTP_HOST_CACHE_DIR=/cache
USER 1000:1000
EXPOSE 8080 9090
ENTRYPOINT ["/wasi-http-host", "serve", "/spin.toml"]

FROM scratch AS gists
COPY --from=component /out/ /
USER 1000:1000
EXPOSE 8080 9090
ENTRYPOINT ["/spin.toml"]
