package main

import (
	"context"
	"fmt"
	"net/http"

	"dinggate/cmd/dinggate/internal/admin"
)

// runHealthcheck asks /livez on the admin listener of a running dinggate; nil
// when it is alive.
func runHealthcheck(ctx context.Context, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/livez", nil)
	if err != nil {
		return err
	}
	res, err := admin.Client(address).Do(r)
	if err != nil {
		return fmt.Errorf("nobody answers on the admin listener %s: is dinggate serving there?", address)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("/livez on %s answers %d", address, res.StatusCode)
	}
	return nil
}
