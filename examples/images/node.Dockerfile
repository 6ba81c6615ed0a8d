# One Boat node. Its data is in /data; flags follow the image's name, or stand in BOAT_* variables.
FROM scratch
COPY root /
ENV BOAT_DATA_DIR=/data
ENTRYPOINT ["/usr/bin/node"]
