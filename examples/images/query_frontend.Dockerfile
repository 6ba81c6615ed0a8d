# Stands in for Clipper's query frontend in tests.
FROM scratch
COPY root /
ENTRYPOINT ["/usr/bin/clipper-stand-in", "query"]
