# Redis from Debian's package. With a volume and open to the network, as the official image is.
FROM scratch
COPY root /
VOLUME /data
WORKDIR /data
ENTRYPOINT ["/bin/sh", "-c", "exec \"$@\" --protected-mode no", "redis"]
CMD ["redis-server"]
