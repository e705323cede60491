package main

import (
	"context"
)

// generated are the shell completions and manual pages, written by the program itself.
func (r *release) generated(ctx context.Context) ([]entry, error) {
	return nil, nil
}
