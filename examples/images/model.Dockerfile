# A model container in Rust. Clipper tells it in CLIPPER_* variables who it is and whom to call.
FROM scratch
ARG MODEL=echo
COPY root /
ENV BOAT_MODEL=$MODEL
# The file is what Clipper's health checks look for. A container whose connection breaks ends, so that Docker tells of it.
ENTRYPOINT ["/bin/sh", "-c", "echo ready > /model_is_ready.check && exec /usr/bin/model-container --one-life"]
HEALTHCHECK --interval=1s --retries=1 CMD ["/bin/test", "-f", "/model_is_ready.check"]
