# syntax=docker/dockerfile:1
# docker build -t lagar .
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/sql:/work/sql" -v "$PWD/data-samples:/work/data-samples:ro" \
#     lagar run sql/shop

FROM rust:1.95-bookworm AS build
WORKDIR /src
# The image's own toolchain is the one that rust-toolchain.toml names; do not download it again.
ENV RUSTUP_TOOLCHAIN=1.95.0
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --profile dist -p lagar-cli --bin lagar \
    && install -D target/dist/lagar /out/lagar \
    && mkdir /out/work

# glibc, libgcc and the certificates; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12
COPY --from=build /out/lagar /usr/local/bin/lagar
COPY --from=build --chown=65532:65532 /out/work /work
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["/usr/local/bin/lagar"]
CMD ["--help"]
