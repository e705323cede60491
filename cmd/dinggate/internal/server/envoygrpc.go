package server

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/proxy/forwardauth/envoygrpc"
)

// openEnvoyGRPC listens for Envoy's authorization subrequests. The returned func serves them
// until the drain, which closes it with the other listeners and waits for the requests
// in flight.
func (s *Listeners) openEnvoyGRPC(cfg *config.Config, current http.Handler,
	out io.Writer) (answer func(context.Context), err error) {
	l, err := listen(cfg.EnvoyGRPC.Listen)
	if err != nil {
		return nil, ListenError("envoy_grpc.listen", cfg.EnvoyGRPC.Listen, err)
	}
	fmt.Fprintf(out, "envoy_grpc listening on %s\n", l.Addr())
	asked, enough := context.WithCancel(context.Background()) // outlives the signal that begins the drain
	answered := make(chan struct{})
	s.EndWith(func(ctx context.Context) bool {
		enough()
		select {
		case <-answered:
			return true
		case <-ctx.Done():
			return false
		}
	})
	return func(context.Context) {
		defer close(answered)
		defer enough()
		if err := (&envoygrpc.Server{Handler: current, Prefix: cfg.Prefix}).Serve(asked, l); err != nil {
			s.Log.Error("envoy_grpc ended", "err", err.Error())
		}
	}, nil
}
