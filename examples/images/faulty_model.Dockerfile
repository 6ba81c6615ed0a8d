# A model container for tests, which fails as its inputs tell it.
FROM scratch
COPY root /
ENTRYPOINT ["/bin/sh", "-c", "echo ready > /model_is_ready.check && exec /usr/bin/clipper-stand-in model"]
HEALTHCHECK --interval=1s --retries=1 CMD ["/bin/test", "-f", "/model_is_ready.check"]
