# Prometheus from Debian's package. With a volume, as the official image has one.
FROM scratch
COPY root /
VOLUME /prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
