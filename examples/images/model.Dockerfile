# A model container in Rust. Clipper tells it in CLIPPER_* variables who it is and whom to call.
FROM scratch
ARG MODEL=echo
COPY root /
ENV BOAT_MODEL=$MODEL
ENTRYPOINT ["/usr/bin/model-container"]
HEALTHCHECK --interval=3s --retries=1 CMD ["/bin/test", "-f", "/model_is_ready.check"]
