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
	Args           []string          // the arguments that are not flags
	Given          map[string]string // values of the command's own flags
	Flags          *config.Flags     // values of the configuration's flags
	Environ        []string
	Stdout, Stderr io.Writer
	i18n.Language
}

// Load loads the configuration from the flags and the environment.
func (c Invocation) Load() (*config.Config, []conf.Problem) { return config.Load(c.Flags, c.Environ) }

// Until runs work until it returns or the process receives a signal; a second signal
// ends the process at once.
func (c Invocation) Until(work func(context.Context) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	if err := work(ctx); err != nil {
		if said, ok := errors.AsType[UserError](err); ok {
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

// ListenFlag reports whether --listen of a command without a configuration is absent or
// host:port; otherwise it prints the mistake with an example.
func (c Invocation) ListenFlag(example string) bool {
	if c.Has("listen") && !config.IsHostPort(c.Given["listen"]) {
		c.Misused(conf.Problem{Key: "--listen", Text: conf.Textf("is not host:port such as %s", example)})
		return false
	}
	return true
}

// List splits a flag's value at its commas.
func (c Invocation) List(name string) (items []string) {
	for item := range strings.SplitSeq(c.Given[name], ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// Print writes to standard output and returns the exit code.
func (c Invocation) Print(text []byte) int {
	if _, err := c.Stdout.Write(text); err != nil {
		fmt.Fprintf(c.Stderr, "dinggate: %v\n", err)
		return 1
	}
	return 0
}

// Misused prints the mistakes in the command line, one per line, and returns the exit
// code for them. The command must not have done anything yet.
func (c Invocation) Misused(faults ...conf.Problem) int {
	name := strings.TrimSpace("dinggate " + c.Name)
	colon := c.Say(i18n.Message{": ", "："})
	for _, p := range faults {
		p.File = ""
		fmt.Fprintln(c.Stderr, name+colon+c.Problem(p))
	}
	fmt.Fprintf(c.Stderr, c.Say(i18n.Message{"for usage see %s --help\n", "用法见 %s --help\n"}), name)
	return 2
}
