# A Redis that takes the official image's command line, for engines that reach no registry of images. The official one
# is not in protected mode, either.
FROM python:3.12-slim-bookworm
COPY redis-server redis-cli /usr/local/libexec/
RUN printf '#!/bin/sh\nexec /usr/local/libexec/redis-server --protected-mode no "$@"\n' > /usr/local/bin/redis-server \
    && ln -s /usr/local/libexec/redis-cli /usr/local/bin/redis-cli \
    && chmod 755 /usr/local/bin/redis-server
VOLUME /data
WORKDIR /data
EXPOSE 6379
CMD ["redis-server"]
