# Stands in for Clipper's exporter in tests.
FROM scratch
COPY root /
ENTRYPOINT ["/usr/bin/clipper-stand-in", "exporter"]
