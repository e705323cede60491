# dinggate in a container: one static binary, CA certificates, a user without rights.
#
#   docker build -t dinggate .                                   builds inside golang:1.26
#   make image                                                   packs bin/dinggate, needs no base image at all
#   --build-arg BUILD_IMAGE=… --build-arg RUNTIME_IMAGE=…        mirrors, or a distroless static base
ARG BUILD_IMAGE=golang:1.26
ARG RUNTIME_IMAGE=scratch
ARG BINARY=built

FROM ${BUILD_IMAGE} AS built
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -pgo=bench/dinggate.pgo -ldflags "-s -w -X main.version=${VERSION}" -o /out/dinggate ./cmd/dinggate \
 && cp /etc/ssl/certs/ca-certificates.crt /out/

FROM scratch AS prebuilt
COPY dist/ /out/

FROM ${BINARY} AS binary

FROM ${RUNTIME_IMAGE}
ARG VERSION=dev
LABEL org.opencontainers.image.title="dinggate" \
      org.opencontainers.image.description="DingTalk (钉钉) sign-in in front of any web application" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=binary /out/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=binary /out/dinggate /usr/bin/dinggate
USER 65532:65532
EXPOSE 4180 9180
HEALTHCHECK --interval=30s --timeout=3s CMD ["/usr/bin/dinggate", "healthcheck"]
ENTRYPOINT ["/usr/bin/dinggate"]
CMD ["serve", "--config", "/etc/dinggate/config.yaml"]
