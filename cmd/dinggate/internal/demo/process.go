package demo

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/server"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/buildinfo"
	"dinggate/internal/telemetry"
)

// process is the servers of one demo.
type process struct {
	server.Listeners
	public   net.Listener // on the address of the demo
	dingtalk string       // base URL of the simulated DingTalk
	records  *telemetry.Writer
	run      []func(context.Context)
}

// serve starts a simulated DingTalk and the servers that open adds, and serves until ctx
// ends.
func serve(ctx context.Context, address string, out io.Writer, open func(*process) error) error {
	p := &process{records: telemetry.NewWriter(os.Stderr)}
	defer p.records.Close()
	p.Log = p.kit().Log
	err := p.listen(address, out)
	if err == nil {
		err = open(p)
	}
	if err != nil {
		return errors.Join(err, p.Close())
	}
	return p.Serve(ctx, func(ctx context.Context) {
		var all sync.WaitGroup
		for _, run := range p.run {
			all.Go(func() { run(ctx) })
		}
		all.Wait()
	})
}

func (p *process) listen(address string, out io.Writer) (err error) {
	if p.public, err = Listen(address, out); err != nil {
		return err
	}
	p.dingtalk, err = p.OpenLoopback("127.0.0.1:0", simulator.Demo())
	return err
}

// gateway serves a dinggate on l.
func (p *process) gateway(cfg *config.Config, l net.Listener) error {
	state := server.NewState(server.MemoryStores(), p.kit())
	g, err := server.New(cfg, state)
	if err != nil {
		return err
	}
	state.Serve(g)
	p.Add(l, state)
	p.EndWith(state.Conns.Shutdown)
	p.run = append(p.run, g.Run)
	return nil
}

func (p *process) kit() server.Observability {
	return server.Observability{
		Log:     telemetry.Logger(p.records, "console", config.LogLevels["warn"]),
		Access:  &telemetry.AccessLog{Out: p.records, Console: true},
		Metrics: telemetry.NewMetrics(buildinfo.Version(), buildinfo.Revision(), p.records.Dropped),
	}
}
