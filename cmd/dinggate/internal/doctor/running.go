package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/internal/i18n"
)

// running checks the dinggate that serves here, if there is one.
func (d *Doctor) running(ctx context.Context) Result {
	r, err := d.status(ctx)
	if err != nil {
		return Result{
			Severity: Note,
			Text: i18n.Message{"no dinggate answers on admin.listen, " + d.cfg.Admin.Listen,
				"admin.listen（" + d.cfg.Admin.Listen + "）上没有 dinggate 应答"},
			Hint: i18n.Message{"on the machine where it runs, doctor also checks its state", "在其运行的机器上执行 doctor 还会检查其状态"},
		}
	}
	switch {
	case !r.Reload.Successful:
		why := ""
		if len(r.Reload.Problems) > 0 {
			why = ": " + r.Reload.Problems[0]
		}
		if r.Reload.Partly {
			return Result{
				Severity: Wrong,
				Text: i18n.Message{"a part of its configuration was refused and is unchanged" + why,
					"其配置有一部分被拒绝，该部分保持原样" + why},
				Hint: i18n.Message{"dinggate check lists all mistakes", "运行 dinggate check 查看全部错误"},
			}
		}
		return Result{
			Severity: Wrong,
			Text: i18n.Message{"uses an old configuration, the changed one was refused" + why,
				"仍在使用旧配置，新配置被拒绝" + why},
			Hint: i18n.Message{"dinggate check lists all mistakes", "运行 dinggate check 查看全部错误"},
		}
	case !r.Store.Up:
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"its session store is unavailable: " + r.Store.Kind, "其会话存储不可用：" + r.Store.Kind},
			Hint:     i18n.Message{"see the line of the store above", "见上面关于存储的一行"},
		}
	case r.SharedUnionIDs > 0:
		return Result{
			Severity: Wrong,
			Text: i18n.Message{
				fmt.Sprintf(
					"unionids that the SSO service returns for several people each: %d; they identify no one, and "+
						"bindings by them have no effect", r.SharedUnionIDs,
				),
				fmt.Sprintf("SSO 服务给出的 %d 个 unionid 属于多个人：不能识别任何人，按它们建立的绑定不起作用", r.SharedUnionIDs),
			},
			Hint: i18n.Message{"let the service return each person's own unionid, or none",
				"请让 SSO 服务返回每个人自己的 unionid，或不返回"},
		}
	case r.Stream != nil && r.Stream.Missed > 0:
		return Result{
			Severity: Warning,
			Text: i18n.Message{
				fmt.Sprintf("leavers without an event: %d; another deployment with this DingTalk app receives part of the events",
					r.Stream.Missed),
				fmt.Sprintf("%d 名离职人员没有收到事件：同一钉钉应用还有其他部署在接收事件", r.Stream.Missed)},
			Hint: i18n.Message{"share one Redis, use one dinggate for both, or create an app for each",
				"共用一个 Redis，或合并为一个 dinggate，或每个部署各用一个应用"},
		}
	case r.Sessions.OnGrace > 0:
		return Result{
			Severity: Warning,
			Text: i18n.Message{fmt.Sprintf("people in the grace period, whose lookups fail: %d", r.Sessions.OnGrace),
				fmt.Sprintf("%d 人处于宽限期：成员复查失败", r.Sessions.OnGrace)},
			Hint: i18n.Message{"see the lines about DingTalk above; after session.grace they get 503",
				"原因见上面关于钉钉的各行；超过 session.grace 后将返回 503"},
		}
	case r.Stream != nil && r.Stream.Connected == nil && time.Since(r.Started) > time.Minute:
		return Result{
			Severity: Warning,
			Text:     i18n.Message{"its event stream is not connected", "其事件流未连接"},
			Hint:     i18n.Message{"see the line of the event stream above", "见上面关于事件流的一行"},
		}
	}
	since := r.Started.Local().Format(time.DateTime)
	return good(i18n.Message{r.Version + ", since " + since, r.Version + "，启动于 " + since})
}

// status returns /status of the dinggate here.
func (d *Doctor) status(ctx context.Context) (r admin.StatusReport, err error) {
	ask, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/status", nil)
	if err != nil {
		return r, err
	}
	ask.Header.Set("Accept", "application/json")
	res, err := admin.Client(d.cfg.Admin.Listen).Do(ask)
	if err != nil {
		return r, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return r, fmt.Errorf("/status answers %d", res.StatusCode)
	}
	return r, json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&r)
}

// forgotten lists peers outside trusted_proxies that forward requests of others, and
// whose address is so close that they are probably a gateway of the operator.
func forgotten(r admin.StatusReport) (peers []string) {
	for _, one := range r.Untrusted {
		addr, err := netip.ParseAddr(one.Peer)
		if err == nil && (addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast()) {
			peers = append(peers, one.Peer)
		}
	}
	return peers[:min(len(peers), 5)]
}

// seen compares trusted_proxies with the actual peers of a running dinggate.
func (d *Doctor) seen(ctx context.Context) Result {
	r, err := d.status(ctx)
	if err != nil {
		return d.trusted()
	}
	peers := forgotten(r)
	if len(peers) == 0 {
		return d.trusted()
	}
	list := strings.Join(peers, ", ")
	return Result{Severity: Warning, Text: i18n.Message{
		"sends X-Forwarded-* or X-Original-* and is not trusted: " + list,
		"发送了 X-Forwarded-* 或 X-Original-* 但未受信任：" + list},
		Hint: i18n.Message{"if it is your gateway, add " + peers[0] + "/32, or its network, to trusted_proxies",
			"若是你的网关，请把 " + peers[0] + "/32 或其网段加入 trusted_proxies"}}
}
