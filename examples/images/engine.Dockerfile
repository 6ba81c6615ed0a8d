# The Clipper-compatible engine: queries on 1337, management on 1338, model containers on 7000.
FROM scratch
COPY root /
EXPOSE 1337 1338 7000
ENTRYPOINT ["/usr/bin/engine", "--address", "0.0.0.0"]
