package main

import (
	"context"
	"fmt"
	"net/http"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/internal/i18n"
)

// runHealthcheck asks /livez on the admin listener of a running dinggate; nil
// when it is alive. guessed: the configuration has mistakes, and address is the default.
func runHealthcheck(ctx context.Context, address string, guessed bool) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/livez", nil)
	if err != nil {
		return err
	}
	res, err := admin.Client(address).Do(r)
	if err != nil {
		said := i18n.Message{
			fmt.Sprintf("nobody answers on the admin listener %s: is dinggate serving there?", address),
			fmt.Sprintf("管理端口 %s 无应答：dinggate 是否在此运行？", address)}
		if guessed {
			said[i18n.English] += " This is the default address; with the mistakes above, the one in use may be another (admin.listen)."
			said[i18n.Chinese] += "这是默认地址；由于上述配置错误，实际地址（admin.listen）可能不同。"
		}
		return cli.SaidError{Message: said, Err: err}
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return cli.SaidError{Message: i18n.Message{
			fmt.Sprintf("/livez on %s answers %d", address, res.StatusCode),
			fmt.Sprintf("%s 的 /livez 返回 %d", address, res.StatusCode)}}
	}
	return nil
}
