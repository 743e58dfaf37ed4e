# Two images of one binary: `docker build --target cpu .` and `docker build --target cuda .`

FROM rust:1.95-bookworm AS build
# The image's own, whatever rust-toolchain.toml names.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
RUN cargo build --release --locked

# CUDA's compiler of kernels and its matrix products; the driver comes from the host (`docker run --gpus all`).
FROM nvidia/cuda:12.8.1-runtime-ubuntu24.04 AS cuda
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/epitome /usr/local/bin/epitome
# The loopback of a container is nobody else's, so that `serve` wants the keys of clients in EPITOME_KEYS, or
# `--open`. A file that is mounted here takes this one's place.
WORKDIR /etc/epitome
RUN printf '[serve]\nlisten = "0.0.0.0:8080"\nkeys_env = "EPITOME_KEYS"\n' > epitome.toml
ENV EPITOME_CONFIG=/etc/epitome/epitome.toml XDG_CACHE_HOME=/var/cache
EXPOSE 8080
ENTRYPOINT ["epitome"]

FROM debian:bookworm-slim AS cpu
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/epitome /usr/local/bin/epitome
# The loopback of a container is nobody else's, so that `serve` wants the keys of clients in EPITOME_KEYS, or
# `--open`. A file that is mounted here takes this one's place.
WORKDIR /etc/epitome
RUN printf '[serve]\nlisten = "0.0.0.0:8080"\nkeys_env = "EPITOME_KEYS"\n' > epitome.toml
ENV EPITOME_CONFIG=/etc/epitome/epitome.toml XDG_CACHE_HOME=/var/cache
EXPOSE 8080
ENTRYPOINT ["epitome"]
