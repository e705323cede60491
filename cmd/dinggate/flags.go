package main

import (
	"fmt"
	"io"
	"strings"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/cmd/dinggate/internal/explain"
	"dinggate/cmd/dinggate/internal/gatewayconf"
	"dinggate/internal/i18n"
)

// ownFlags are the flags of commands that have any.
func ownFlags(command string) []cli.Flag {
	switch command {
	case "doctor":
		return doctor.Flags
	case "explain":
		return explain.Flags
	case "simulate":
		return simulateFlags
	case "gen":
		return gatewayconf.Flags
	}
	return nil
}

// takeOwn moves the command's own flags out of the arguments; what is left is
// the configuration's. Whoever gets one wrong is told.
func takeOwn(c *cli.Invocation, cmd command) bool {
	c.Given = map[string]string{}
	var rest []string
	for args := c.Args; len(args) > 0; {
		arg := args[0]
		args = args[1:]
		name, value, has := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		flag, ok := cmd.flag(name)
		if !ok || !strings.HasPrefix(arg, "--") {
			rest = append(rest, arg)
			continue
		}
		if flag.Value != "" && !has && len(args) > 0 && !strings.HasPrefix(args[0], "--") {
			value, has, args = args[0], true, args[1:]
		}
		_, twice := c.Given[name]
		if has != (flag.Value != "") || twice {
			wrongFlag(*c, cmd, flag, twice)
			return false
		}
		c.Given[name] = value
	}
	c.Args = rest
	return true
}

func (cmd command) flag(name string) (cli.Flag, bool) {
	for _, f := range ownFlags(cmd.name) {
		if f.Name == name {
			return f, true
		}
	}
	return cli.Flag{}, false
}

func wrongFlag(c cli.Invocation, cmd command, f cli.Flag, twice bool) {
	text := i18n.Message{"has no value", "缺少值"}
	switch {
	case twice:
		text = i18n.Message{"is given twice", "重复给出"}
	case f.Value == "":
		text = i18n.Message{"takes no value", "不接受值"}
	}
	fmt.Fprintf(c.Stderr, "dinggate %s: --%s %s\n", cmd.name, f.Name, c.Say(text))
}

// ownUsage is the help on the command's own flags.
func ownUsage(c cli.Invocation, out io.Writer, cmd command) {
	for _, f := range ownFlags(cmd.name) {
		fmt.Fprintf(out, "  --%-22s %s\n", strings.TrimSpace(f.Name+" "+f.Value), c.Say(f.Help))
	}
}

// takeLanguage takes --lang out of the arguments, wherever it stands before a --,
// and what DINGGATE_LANG says where it is not given. An unknown language is told.
func takeLanguage(c *cli.Invocation, args []string) (rest []string, ok bool) {
	name, value := config.LanguageVariable, ""
	for _, variable := range c.Environ {
		if text, ours := strings.CutPrefix(variable, config.LanguageVariable+"="); ours {
			value = text
		}
	}
	for i := 0; i < len(args); i++ {
		text, has := strings.CutPrefix(args[i], "--lang=")
		switch {
		case args[i] == "--":
			rest, i = append(rest, args[i:]...), len(args)
			continue
		case !has && args[i] != "--lang":
			rest = append(rest, args[i])
			continue
		case !has && i+1 < len(args):
			i++
			text = args[i]
		}
		if name, value = "--lang", text; value == "" {
			value = "?" // given, and no language
		}
	}
	switch tag := strings.ToLower(value); {
	case tag == "":
	case tag == "zh" || strings.HasPrefix(tag, "zh-") || strings.HasPrefix(tag, "zh_"):
		c.Language = i18n.Chinese
	case tag == "en" || strings.HasPrefix(tag, "en-") || strings.HasPrefix(tag, "en_"):
		c.Language = i18n.English
	default:
		fmt.Fprintf(c.Stderr, c.Say(i18n.Message{"dinggate: %s is zh or en\n", "dinggate：%s 应为 zh 或 en\n"}), name)
		return nil, false
	}
	return rest, true
}
