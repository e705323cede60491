package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
)

// runHealthcheck checks the process that the configuration belongs to. A mistake made
// in the configuration since its start does not make that process unhealthy.
func runHealthcheck(c cli.Invocation) int {
	cfg, problems := c.Load()
	wrong := config.Refusing(problems)
	if slices.ContainsFunc(wrong, func(p conf.Problem) bool { return p.File == "" }) {
		wrong = nil // nothing is configured: check the default address
	}
	config.PrintProblems(c.Stderr, c.Language, wrong)
	if config.ExitCode(wrong) == 2 {
		return 2
	}
	guessed := len(wrong) > 0 && cfg.Admin.Listen == config.Default().Admin.Listen
	if guessed && config.FileMissing(wrong) { // another dinggate may answer at the default address
		return config.ExitCode(wrong)
	}
	return c.Until(func(ctx context.Context) error { return healthcheck(ctx, cfg.Admin.Listen, guessed) })
}

// healthcheck requests /livez from the admin listener of a running dinggate; nil means
// alive. guessed: the configuration has mistakes, and address is the default.
func healthcheck(ctx context.Context, address string, guessed bool) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/livez", nil)
	if err != nil {
		return err
	}
	res, err := admin.Client(address).Do(r)
	if err != nil {
		said := i18n.Message{
			fmt.Sprintf("the admin listener %s does not answer: check that dinggate is running there", address),
			fmt.Sprintf("管理端口 %s 无应答：dinggate 是否在此运行？", address)}
		if guessed {
			said[i18n.English] += " This is the default address; with the mistakes above, the one in use may be " +
				"another (admin.listen)."
			said[i18n.Chinese] += "这是默认地址；由于上述配置错误，实际地址（admin.listen）可能不同。"
		}
		return cli.UserError{Message: said, Err: err}
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return cli.UserError{Message: i18n.Message{
			fmt.Sprintf("/livez on %s answers %d", address, res.StatusCode),
			fmt.Sprintf("%s 的 /livez 返回 %d", address, res.StatusCode)}}
	}
	return nil
}
