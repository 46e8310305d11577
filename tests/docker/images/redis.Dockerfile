# A Redis that takes the official image's command line, for engines that reach no registry of images. Its data belong to
# the same user.
FROM python:3.12-slim-bookworm
COPY redis-server redis-cli /usr/local/bin/
RUN install --directory --owner=999 --group=1000 /data
VOLUME /data
WORKDIR /data
EXPOSE 6379
CMD ["redis-server"]
