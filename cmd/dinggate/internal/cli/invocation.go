// Package cli is one invocation of a command: its arguments, its environment, its
// streams and its language.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"dinggate/internal/i18n"
)

// Invocation is one call of a command.
type Invocation struct {
	Args, Environ  []string          // args without the command's name
	Given          map[string]string // what the command's own flags gave
	Stdout, Stderr io.Writer
	SSO            bool // demo --sso: a chain with an SSO service in the middle
	i18n.Language
}

// Until runs work until it ends or the process is asked to; asked twice, it
// ends at once.
func (c Invocation) Until(work func(context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := work(ctx); err != nil {
		if said, ok := errors.AsType[SaidError](err); ok {
			fmt.Fprintf(c.Stderr, "dinggate: %s\n", c.Say(said.Message))
			return 1
		}
		fmt.Fprintf(c.Stderr, "dinggate: %v\n", err)
		return 1
	}
	return 0
}

// Flag is a flag that one command has besides those of the configuration.
type Flag struct {
	Name  string
	Value string // what the help calls its value; "" for a switch
	Help  i18n.Message
}

// Has reports whether a flag of the command's own was given.
func (c Invocation) Has(name string) bool {
	_, ok := c.Given[name]
	return ok
}

// List parts a flag's value at its commas.
func (c Invocation) List(name string) (items []string) {
	for item := range strings.SplitSeq(c.Given[name], ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}
