package server

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/proxy/forwardauth/envoygrpc"
)

// openEnvoyGRPC listens for Envoy's questions. What it returns answers them until
// the drain takes no new one, with the other listeners, and waits for the answers
// to those that were taken.
func (s *Listeners) openEnvoyGRPC(cfg *config.Config, current http.Handler,
	out io.Writer) (answer func(context.Context), err error) {
	l, err := listen(cfg.EnvoyGRPC.Listen)
	if err != nil {
		return nil, ListenError("envoy_grpc.listen", cfg.EnvoyGRPC.Listen, err)
	}
	fmt.Fprintf(out, "envoy_grpc listening on %s\n", l.Addr())
	asked, enough := context.WithCancel(context.Background()) // outlives the signal that begins the drain
	answered, streams := make(chan struct{}), s.End
	s.End = func(ctx context.Context) bool {
		enough()
		all := streams(ctx)
		select {
		case <-answered:
			return all
		case <-ctx.Done():
			return false
		}
	}
	return func(context.Context) {
		defer close(answered)
		defer enough()
		if err := (&envoygrpc.Server{Gate: current, Prefix: cfg.Prefix}).Serve(asked, l); err != nil {
			s.Log.Error("envoy_grpc ended", "err", err.Error())
		}
	}, nil
}
