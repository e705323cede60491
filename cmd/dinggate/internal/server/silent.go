package server

import (
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk"
	"dinggate/proxy/login"
)

// newSilent is the sign-in inside the DingTalk client, over the same membership
// check as the one in a browser. With an SSO service in DingTalk's place there
// is none: only the service's own pages may ask the client.
func newSilent(cfg *config.Config, client *dingtalk.Client) *login.Silent {
	if cfg.SSO.On() {
		return nil
	}
	in := &dingtalk.SilentLogin{
		Client: client,
		Directory: &dingtalk.Directory{
			Client:    client,
			Username:  cfg.DingTalk.Username,
			Ancestors: cfg.NamesDepartments(),
		},
	}
	return &login.Silent{CorpID: cfg.DingTalk.CorpID, ClientID: cfg.DingTalk.ClientID, Exchange: in.Exchange, Queue: in}
}
