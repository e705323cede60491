// Command bench measures what dinggate costs beside a Go program that does nothing.
//
//	load (wrk, second core) ─► yardstick or dinggate (first core) ─► upstream
//	              CPU per request = the server process's own accounting ÷ requests answered
//
// Yardsticks and dinggate run in turn, round by round, so that a ratio holds
// although the machine's speed drifts. Access log and metrics are on. Needs
// Linux, wrk and taskset.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "yardstick" {
		fail(yardstick(os.Args[2], os.Args[3]))
		return
	}
	rounds := flag.Int("rounds", 5, "how often each pair is measured")
	seconds := flag.Duration("time", 3*time.Second, "how long each measurement runs")
	docs := flag.String("docs", "",
		"the folder whose performance.md, its Chinese twin and picture are to show this run")
	flag.Parse()
	env, err := build()
	fail(err)
	defer env.close()
	fmt.Printf("%d rounds of %v, server on one core\n\n", *rounds, *seconds)
	for _, connections := range []int{32, 256} {
		fail(env.ratios(*rounds, *seconds, connections))
	}
	fail(env.behindNginx(*rounds, *seconds, 32))
	fail(env.transfers(*rounds))
	fail(env.streams(*rounds))
	fail(env.footprint())
	fail(env.handlers())
	if *docs != "" {
		fail(env.publish(*docs))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
