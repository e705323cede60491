package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"

	"dinggate/dingtalk/simulator"
)

// runSimulate serves the simulated DingTalk of the demo alone, all three hosts
// of it on one address. People, faults and the clock are moved by requests to
// /_simulator/ (package simulator tells how).
func runSimulate(ctx context.Context, address string, out io.Writer) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s := &server{log: slog.New(slog.DiscardHandler)}
	s.add(l, simulator.Demo())
	fmt.Fprintf(out, "simulator listening on http://%s\n", l.Addr())
	fmt.Fprintf(out, "client_id %s  client_secret %s  corp_id %s\n", simulator.DemoClientID, simulator.DemoClientSecret, simulator.DemoCorpID)
	return s.serve(ctx, func(context.Context) {})
}
