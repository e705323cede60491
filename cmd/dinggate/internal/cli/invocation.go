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

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
)

// Invocation is one call of a command.
type Invocation struct {
	Name           string            // of the command
	Args           []string          // the arguments that are no flags
	Given          map[string]string // what the command's own flags gave
	Flags          *config.Flags     // what the configuration's flags gave
	Environ        []string
	Stdout, Stderr io.Writer
	i18n.Language
}

// Load reads the configuration that the flags and the environment give.
func (c Invocation) Load() (*config.Config, []conf.Problem) { return config.Load(c.Flags, c.Environ) }

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

// Print writes to standard output and gives the exit code.
func (c Invocation) Print(text []byte) int {
	if _, err := c.Stdout.Write(text); err != nil {
		fmt.Fprintf(c.Stderr, "dinggate: %v\n", err)
		return 1
	}
	return 0
}

// Misused prints what is wrong with the call, one line for each, and is the exit
// code for that. Nothing else has been done by then.
func (c Invocation) Misused(faults ...conf.Problem) int {
	name := strings.TrimSpace("dinggate " + c.Name)
	colon := c.Say(i18n.Message{": ", "："})
	for _, p := range faults {
		p.File = ""
		fmt.Fprintln(c.Stderr, name+colon+c.Problem(p))
	}
	fmt.Fprintf(c.Stderr, c.Say(i18n.Message{"%s --help shows how it is called\n", "用法见 %s --help\n"}), name)
	return 2
}
