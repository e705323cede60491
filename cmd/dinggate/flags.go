package main

import (
	"fmt"
	"io"
	"strings"
)

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
func takeOwn(c *call, cmd command) bool {
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
			wrongFlag(*c, cmd, flag, twice)
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

func wrongFlag(c call, cmd command, f ownFlag, twice bool) {
	text := message{"has no value", "缺少值"}
	switch {
	case twice:
		text = message{"is given twice", "重复给出"}
	case f.value == "":
		text = message{"takes no value", "不接受值"}
	}
	fmt.Fprintf(c.trouble, "dinggate %s: --%s %s\n", cmd.name, f.name, c.say(text))
}

// ownUsage is the help on the command's own flags.
func ownUsage(c call, out io.Writer, cmd command) {
	for _, f := range ownFlags(cmd.name) {
		fmt.Fprintf(out, "  --%-22s %s\n", strings.TrimSpace(f.name+" "+f.value), c.say(f.brief))
	}
}

// takeLanguage takes --lang out of the arguments, wherever it stands before a --,
// and what DINGGATE_LANG says where it is not given. An unknown language is told.
func takeLanguage(c *call, args []string) (rest []string, ok bool) {
	name, value := languageVariable, ""
	for _, variable := range c.environ {
		if text, ours := strings.CutPrefix(variable, languageVariable+"="); ours {
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
		c.language = chinese
	case tag == "en" || strings.HasPrefix(tag, "en-") || strings.HasPrefix(tag, "en_"):
		c.language = english
	default:
		fmt.Fprintf(c.trouble, c.say(message{"dinggate: %s is zh or en\n", "dinggate：%s 应为 zh 或 en\n"}), name)
		return nil, false
	}
	return rest, true
}
