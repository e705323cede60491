package account_test

import (
	"testing"

	"dinggate/account"
	"dinggate/account/accounttest"
)

func TestMemory(t *testing.T) {
	accounttest.Run(t, func(t *testing.T) account.Bindings { return new(account.Memory) })
}
