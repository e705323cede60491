//go:build !envoy_grpc

package main

import (
	"context"
	"errors"
	"net"
	"net/http"
)

// grpcBuilt tells whether this program can answer Envoy over gRPC.
const grpcBuilt = false

func serveEnvoyGRPC(context.Context, net.Listener, http.Handler, string) error {
	return errors.New("built without -tags envoy_grpc")
}
