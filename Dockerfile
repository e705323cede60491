# dinggate in a container: one static binary, CA certificates, a user without rights.
#
#   docker build -t dinggate .                                   builds inside golang:1.26
#   make image                                                   packs bin/dinggate, needs no base image at all
#   --build-arg BUILD_IMAGE=… --build-arg RUNTIME_IMAGE=…        mirrors, or a distroless static base
#   --build-arg GOPROXY=…                                         a mirror, where the Go module proxy is out of reach
#   --build-arg VERSION=… REVISION=… CREATED=… SOURCE=…          what the image says of itself; make image fills them in
ARG BUILD_IMAGE=golang:1.26
ARG RUNTIME_IMAGE=scratch
ARG BINARY=built

FROM ${BUILD_IMAGE} AS built
ARG GOPROXY=""
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG REVISION=""
RUN CGO_ENABLED=0 go build -trimpath -pgo=test/bench/dinggate.pgo -ldflags "-s -w -X dinggate/internal/buildinfo.version=${VERSION} -X dinggate/internal/buildinfo.commit=${REVISION}" -o /out/dinggate ./cmd/dinggate \
 && cp /etc/ssl/certs/ca-certificates.crt /out/

# go.mod is there so that a builder that makes every stage finds a file without dist.
FROM scratch AS prebuilt
COPY go.mod dist* /out/

FROM ${BINARY} AS binary

FROM ${RUNTIME_IMAGE}
ARG VERSION=dev
ARG REVISION=""
ARG CREATED=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="dinggate" \
      org.opencontainers.image.description="DingTalk (钉钉) sign-in in front of any web application" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=binary /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=binary /out/dinggate /usr/bin/dinggate
USER 65532:65532
# Every address, or a published port would lead nowhere. A variable beats the file: to
# listen elsewhere set it, not `listen`.
ENV DINGGATE_LISTEN=:4180
EXPOSE 4180 9180
# serve and healthcheck read the same configuration: the environment, and
# /etc/dinggate/config.yaml where it is, or what DINGGATE_CONFIG names.
HEALTHCHECK --interval=30s --timeout=3s CMD ["/usr/bin/dinggate", "healthcheck"]
ENTRYPOINT ["/usr/bin/dinggate"]
CMD ["serve"]
