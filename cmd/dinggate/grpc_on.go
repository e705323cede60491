//go:build envoy_grpc

package main

import (
	"context"
	"net"
	"net/http"

	"dinggate/proxy/forwardauth/envoygrpc"
)

// grpcBuilt tells whether this program can answer Envoy over gRPC.
const grpcBuilt = true

func serveEnvoyGRPC(ctx context.Context, l net.Listener, gate http.Handler, prefix string) error {
	return (&envoygrpc.Server{Gate: gate, Prefix: prefix}).Serve(ctx, l)
}
