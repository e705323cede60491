package main

import (
	"fmt"
	"io"
	"strings"
)

// ownFlag is a flag that one command has besides those of the configuration.
type ownFlag struct {
	name  string
	value string // what the help calls its value; "" for a switch
	brief words
}

// ownFlags are the flags of commands that have any.
func ownFlags(command string) []ownFlag {
	switch command {
	case "doctor":
		return doctorFlags
	case "explain":
		return explainFlags
	case "simulate":
		return simulateFlags
	case "gen":
		return genFlags
	}
	return nil
}

// takeOwn moves the command's own flags out of the arguments; what is left is
// the configuration's. Whoever gets one wrong is told.
func (c *call) takeOwn(cmd command) bool {
	c.own = map[string]string{}
	var rest []string
	for args := c.args; len(args) > 0; {
		arg := args[0]
		args = args[1:]
		name, value, has := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		flag, ok := cmd.flag(name)
		if !ok || !strings.HasPrefix(arg, "--") {
			rest = append(rest, arg)
			continue
		}
		if flag.value != "" && !has && len(args) > 0 && !strings.HasPrefix(args[0], "--") {
			value, has, args = args[0], true, args[1:]
		}
		_, twice := c.own[name]
		if has != (flag.value != "") || twice {
			c.wrongFlag(cmd, flag, twice)
			return false
		}
		c.own[name] = value
	}
	c.args = rest
	return true
}

func (cmd command) flag(name string) (ownFlag, bool) {
	for _, f := range ownFlags(cmd.name) {
		if f.name == name {
			return f, true
		}
	}
	return ownFlag{}, false
}

func (c call) wrongFlag(cmd command, f ownFlag, twice bool) {
	text := words{"has no value", "缺少值"}
	switch {
	case twice:
		text = words{"is given twice", "重复给出"}
	case f.value == "":
		text = words{"takes no value", "不接受值"}
	}
	fmt.Fprintf(c.trouble, "dinggate %s: --%s %s\n", cmd.name, f.name, c.say(text))
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

// ownUsage is the help on the command's own flags.
func (c call) ownUsage(out io.Writer, cmd command) {
	for _, f := range ownFlags(cmd.name) {
		fmt.Fprintf(out, "  --%-22s %s\n", strings.TrimSpace(f.name+" "+f.value), c.say(f.brief))
	}
}
