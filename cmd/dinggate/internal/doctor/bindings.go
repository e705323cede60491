package doctor

import (
	"context"
	"errors"
	"fmt"

	"dinggate/account"
	"dinggate/internal/i18n"
	"dinggate/internal/keyring"
	"dinggate/session"
	"dinggate/store/redisstore"
)

// bindingChecks check the bindings in Redis, where other programs may write.
func (d *Doctor) bindingChecks() []check {
	if !d.cfg.Accounts.Binds() || d.cfg.Session.Store != session.StoreRedis {
		return nil
	}
	return []check{{Name: "bindings", title: i18n.Message{"bindings", "账号绑定"}, run: d.bindings}}
}

func (d *Doctor) bindings(ctx context.Context) Result {
	keys, err := keyring.New(d.cfg.Cookie.Secrets)
	if err != nil {
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"cannot be opened", "无法打开"},
			Detail:   err.Error(),
			Hint:     i18n.Message{"see cookie.secrets", "核对 cookie.secrets"},
		}
	}
	store, err := redisstore.Open(d.cfg.Redis)
	if err != nil {
		return Result{Severity: skipped, because: i18n.Message{"Redis", "Redis"}}
	}
	defer store.Close()
	b := store.Bindings(keys)
	all, err := b.List(ctx)
	if err != nil && !errors.Is(err, account.ErrSealed) {
		return Result{Severity: skipped, because: i18n.Message{"Redis", "Redis"}}
	}
	plain, failed := b.Unsealed(ctx)
	switch {
	case err != nil:
		return Result{
			Severity: Wrong,
			Text: i18n.Message{"some cannot be decrypted with cookie.secrets and have no effect",
				"部分绑定无法用 cookie.secrets 打开，不起作用"},
			Hint: i18n.Message{
				"was a secret removed, or does another deployment use this redis.prefix? otherwise another program " +
					"writes to Redis; import them again", "是否删除了密钥，或有另一套部署使用同一个 redis.prefix？否则是其他程序在写 Redis；请重新导入",
			},
		}
	case failed == nil && len(plain) > 0:
		return Result{
			Severity: Wrong,
			Text: i18n.Message{fmt.Sprintf("%d of an older release are not sealed and have no effect",
				len(plain)), fmt.Sprintf("旧版本的 %d 条绑定未加密封存，不起作用", len(plain))},
			Hint: i18n.Message{"dinggate bindings list > FILE, look it through, dinggate bindings import FILE",
				"dinggate bindings list > 文件，核对后 dinggate bindings import 文件"},
		}
	}
	return good(i18n.Message{fmt.Sprintf("%d, all sealed", len(all)), fmt.Sprintf("%d 条，均已加密封存", len(all))})
}
