package orgtree

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/describe"
	"dinggate/dingtalk"
	"dinggate/internal/i18n"
	"dinggate/internal/identity"
)

// Command is `dinggate departments`.
var Command = cli.Command{
	Name: "departments", Config: true, Loose: true, Run: run,
	Brief: i18n.Message{
		"print the tree of departments with ids, for rules; with words, only departments whose path contains them",
		"打印部门树及部门 id，供规则使用；给出关键词时只列出路径中包含它们的部门"},
	Flags: []cli.Flag{
		{Name: "roles", Value: "", Help: i18n.Message{"print roles with their ids instead of departments", "改为打印角色及其 id"}},
		{Name: "json", Value: "", Help: i18n.Message{
			"print JSON: departments and roles, also for check --departments",
			"输出 JSON：部门和角色，也供 check --departments 使用"}},
	},
	Examples: []string{
		"departments --config /etc/dinggate/config.yaml",
		"departments 平台 --config config.yaml",
		"departments --json --config config.yaml > departments.json",
	},
}

func newTree(departments []dingtalk.Department, roles ...identity.Role) *Tree {
	t := &Tree{Departments: []Department{}, Roles: []Role{}}
	paths := map[int64]string{}
	for _, d := range departments {
		path := d.Name
		if above := paths[d.Parent]; above != "" {
			path = above + "/" + d.Name
		}
		if d.ID != 1 {
			paths[d.ID] = path
		}
		t.Departments = append(t.Departments, Department{d.ID, d.Parent, d.Name, path})
	}
	for _, r := range roles {
		t.Roles = append(t.Roles, Role{r.ID, r.Name})
	}
	return t
}

// run reads from DingTalk with the app's own credentials.
func run(c cli.Invocation) int {
	cfg, problems := c.Load()
	if code := config.ExitCode(problems); code != 0 {
		config.PrintProblems(c.Stderr, c.Language, problems)
		return code
	}
	return c.Until(func(ctx context.Context) error {
		if cfg.SSO.On() {
			return cli.UserError{Message: i18n.Message{
				"people sign in at an SSO service: DingTalk's directory is not read here",
				"成员在 SSO 服务登录：此处不读取钉钉通讯录"}}
		}
		if err := cfg.ConnectAsService(); err != nil {
			return err
		}
		probe := &dingtalk.Probe{Client: &dingtalk.Client{Config: cfg.DingTalk}}
		defer probe.Client.CloseIdleConnections()
		tree, err := Read(ctx, probe)
		if err != nil {
			f := describe.DescribeFailure(err)
			text := f.Text
			for in := range text {
				if f.Hint[in] != "" {
					text[in] += "\n→ " + f.Hint[in]
				}
				text[in] += "\n  " + cli.Printable(f.Detail)
			}
			return cli.UserError{Message: text, Err: err}
		}
		return tree.print(c)
	})
}

func (t *Tree) print(c cli.Invocation) error {
	found := t.Search(c.Args)
	switch {
	case c.Has("json"):
		encoder := json.NewEncoder(c.Stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(Tree{append([]Department{}, found...), t.Roles})
	case c.Has("roles"):
		var table i18n.Table
		for _, r := range t.Roles {
			table = append(table, []string{strconv.FormatInt(r.ID, 10), cli.Printable(r.Name)})
		}
		table.Write(c.Stdout, "")
	case len(c.Args) > 0:
		var table i18n.Table
		for _, d := range found {
			table = append(table, []string{strconv.FormatInt(d.ID, 10), cli.Printable(d.Path)})
		}
		table.Write(c.Stdout, "")
		if len(found) == 0 {
			return cli.UserError{Message: i18n.Message{"no department has these words", "没有包含这些关键词的部门"}}
		}
	default:
		known, below := map[int64]bool{}, map[int64][]Department{}
		for _, d := range t.Departments {
			known[d.ID] = true
			below[d.Parent] = append(below[d.Parent], d)
		}
		for _, d := range t.Departments {
			if !known[d.Parent] {
				draw(c, below, d, 0)
			}
		}
	}
	return nil
}

// draw prints a department and those below it.
func draw(c cli.Invocation, below map[int64][]Department, d Department, depth int) {
	fmt.Fprintf(c.Stdout, "%s%s  %d\n", strings.Repeat("    ", depth), cli.Printable(d.Name), d.ID)
	for _, child := range below[d.ID] {
		draw(c, below, child, depth+1)
	}
}
