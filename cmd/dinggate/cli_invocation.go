package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// call is one call of a command.
type call struct {
	args, environ []string          // args without the command's name
	own           map[string]string // what the command's own flags gave
	out, trouble  io.Writer
	sso           bool // demo --sso: a chain with an SSO service in the middle
	language
}

// until runs work until it ends or the process is asked to; asked twice, it
// ends at once.
func (c call) until(work func(context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := work(ctx); err != nil {
		if said, ok := errors.AsType[saidError](err); ok {
			fmt.Fprintf(c.trouble, "dinggate: %s\n", c.say(said.message))
			return 1
		}
		fmt.Fprintf(c.trouble, "dinggate: %v\n", err)
		return 1
	}
	return 0
}

// ownFlag is a flag that one command has besides those of the configuration.
type ownFlag struct {
	name  string
	value string // what the help calls its value; "" for a switch
	brief message
}

// has reports whether a flag of the command's own was given.
func (c call) has(name string) bool {
	_, ok := c.own[name]
	return ok
}

// list parts a flag's value at its commas.
func (c call) list(name string) (items []string) {
	for item := range strings.SplitSeq(c.own[name], ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}
