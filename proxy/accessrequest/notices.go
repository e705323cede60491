package accessrequest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"dinggate/store"
)

// NoticesPerDay is how many work notifications DingTalk delivers to a person in a day. DingTalk
// accepts further ones and does not deliver them, so that we have to count.
const NoticesPerDay = 500

// chinaTime is the time zone of DingTalk's days.
var chinaTime = time.FixedZone("CST", 8*3600)

// CountNotice counts one work notification to a person, on all replicas together, and reports
// whether it is within the daily limit.
func (b *Book) CountNotice(ctx context.Context, userID string) (within bool, err error) {
	day := b.now().In(chinaTime).Format(time.DateOnly)
	sum := sha256.Sum256([]byte(userID + "\x00" + day))
	key := "access:told:" + base64.RawURLEncoding.EncodeToString(sum[:locatorSize])
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	for range swaps {
		raw, err := b.Store.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, fmt.Errorf("accessrequest: counting notices: %w", err)
		}
		n := 0
		if plain, ok := b.open(key, raw); err == nil && ok {
			n, _ = strconv.Atoi(string(plain))
		}
		if n >= NoticesPerDay {
			return false, nil
		}
		box, sealing := b.sealer().SealRecord(key, []byte(strconv.Itoa(n+1)))
		if sealing != nil {
			return false, sealing
		}
		if err == nil {
			err = b.Store.Swap(ctx, key, raw, box, 25*time.Hour)
		} else {
			err = b.Store.Add(ctx, key, box, 25*time.Hour)
		}
		switch {
		case errors.Is(err, store.ErrExists), errors.Is(err, store.ErrNotFound):
			continue
		case err != nil:
			return false, fmt.Errorf("accessrequest: counting notices: %w", err)
		}
		return true, nil
	}
	return false, fmt.Errorf("accessrequest: counting notices: %w", errChanged)
}
