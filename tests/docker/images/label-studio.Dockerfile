# Label Studio as its own image starts it, for engines that reach no registry of images.
FROM python:3.12-slim-bookworm
ENV UV_SYSTEM_CERTS=true
COPY uv requirements-label-studio.txt /build/
RUN /build/uv venv --quiet --python /usr/bin/python3 /opt/label-studio \
    && /build/uv pip sync --quiet --no-cache --python /opt/label-studio --require-hashes /build/requirements-label-studio.txt \
    && install --directory --owner=1001 --group=0 /label-studio/data
ENV PATH=/opt/label-studio/bin:$PATH \
    LABEL_STUDIO_BASE_DATA_DIR=/label-studio/data \
    COLLECT_ANALYTICS=false SENTRY_DSN= FRONTEND_SENTRY_DSN= LATEST_VERSION_CHECK=false
USER 1001
EXPOSE 8080
CMD ["label-studio", "start", "--no-browser", "--internal-host", "0.0.0.0", "--port", "8080"]
