# Stands in for Clipper's management frontend in tests.
FROM scratch
COPY root /
ENTRYPOINT ["/usr/bin/clipper-stand-in", "management"]
