package gatewayconf

import (
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/internal/i18n"
)

// Command is `dinggate gen`, with `gen app` and `gen dingtalk` below it.
var Command = cli.Command{
	Name: "gen", Config: true, Flags: Flags, Run: Run,
	Operands: []cli.Operand{{Name: "GATEWAY", Values: Names()}},
	Brief: i18n.Message{
		"print the configuration of a gateway in front of dinggate: dinggate gen nginx --config FILE",
		"打印前置网关的配置：dinggate gen nginx --config FILE"},
	Examples: []string{
		"gen nginx --config /etc/dinggate/config.yaml",
		"gen k8s --config config.yaml --out deploy",
		"gen app grafana --config config.yaml --url https://grafana.example.com",
		"gen dingtalk --config config.yaml",
	},
	Commands: []cli.Command{{
		Name: "app", Config: true, Flags: AppFlags, Run: RunApp,
		Operands: []cli.Operand{{Name: "NAME", Values: AppNames()}},
		Brief: i18n.Message{
			"print both sides of an OpenID Connect application: its configuration, and its oidc.clients entry",
			"打印通过 dinggate 登录的应用两侧的配置：应用自己的配置，以及 oidc.clients 条目"},
		Examples: []string{"gen app grafana --config config.yaml --url https://grafana.example.com"},
	}, {
		Name: "dingtalk", Config: true, Flags: DingTalkFlags, Run: RunDingTalk,
		Brief: i18n.Message{
			"print the settings of the app at DingTalk: commands for dws, DingTalk's command-line tool, and a checklist",
			"打印钉钉应用所需的配置：dws 命令行，以及在开发者后台核对的清单"},
		Examples: []string{"gen dingtalk --config config.yaml --keep https://old.example.com/oauth2/callback"},
	}},
}
