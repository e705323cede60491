// Command bench compares the cost of dinggate with that of a minimal Go program.
//
//	load (wrk, second core) ─► yardstick or dinggate (first core) ─► upstream
//	              CPU per request = the server process's own accounting ÷ requests answered
//
// Yardsticks and dinggate run alternately in rounds, so that a ratio is valid although the
// machine's speed varies. Access log and metrics are on. It needs Linux, wrk and taskset.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"dinggate/internal/i18n"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "yardstick" {
		fail(yardstick(os.Args[2], os.Args[3]))
		return
	}
	rounds := flag.Int("rounds", 15, "how often each pair is measured")
	seconds := flag.Duration("time", time.Second, "how long each measurement runs")
	docs := flag.String("docs", "",
		"the folder whose performance.md, its Chinese twin and picture are to show this run")
	only := flag.String("only", "", "measure one part: ratios, conditions, variants, nginx, transfers, streams, footprint, handlers, oidc")
	flag.Parse()
	if *only != "" && *docs != "" {
		fail(errors.New("-docs shows a whole run: leave out -only"))
	}
	fail(run(*rounds, *seconds, *only, *docs))
}

// run measures the parts that only names, or all of them, and stops every process that it started.
func run(rounds int, seconds time.Duration, only, docs string) error {
	env, err := build()
	if env != nil {
		defer env.close()
	}
	if err != nil {
		return err
	}
	env.setting = i18n.Message{
		fmt.Sprintf("%d rounds of %v, server on one core; %s", rounds, seconds, machine("cores")),
		fmt.Sprintf("%d 轮，每轮 %v，服务器用一个核；%s", rounds, seconds, machine("核")),
	}
	fmt.Printf("%s\n\n", env.setting[i18n.English])
	known := false
	for _, part := range []struct {
		name    string
		measure func() error
	}{
		{"ratios", func() error { return env.ratios(rounds, seconds, 32) }},
		{"ratios", func() error { return env.ratios(rounds, seconds, 256) }},
		{"conditions", func() error { return env.underConditions(rounds, seconds) }},
		{"variants", func() error { return env.variants(max(rounds/3, 1), 3*seconds) }}, // 50,000 cookies need the time
		{"nginx", func() error { return env.behindNginx(rounds, seconds, 32) }},
		{"transfers", func() error { return env.transfers(rounds) }},
		{"streams", func() error { return env.streams(rounds) }},
		{"footprint", env.footprint},
		{"handlers", env.handlers},
		{"oidc", func() error { return env.oidc(rounds) }},
	} {
		if only == "" || only == part.name {
			known = true
			if err := part.measure(); err != nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
		}
	}
	if !known {
		return fmt.Errorf("-only %s: there is no such part", only)
	}
	if docs != "" {
		return env.publish(docs)
	}
	return nil
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
