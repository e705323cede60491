package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"dinggate/internal/buildinfo"
	"dinggate/internal/keyring"
	"dinggate/internal/page"
	"dinggate/store"
)

// replicas is the list of processes that share a Store, for the console. Each one reports
// periodically. No decision depends on it.
type replicas struct {
	id      string
	started time.Time
	store   store.Swapper
}

// replicaReport is one process.
type replicaReport struct {
	ID      string    `json:"id"`
	Host    string    `json:"h"`
	Version string    `json:"v"`
	Started time.Time `json:"s"`
	Seen    time.Time `json:"t"`
}

const (
	replicaEvery  = 15 * time.Second
	replicaSilent = time.Minute // a replica silent for longer has a problem
	replicaFor    = time.Hour   // a replica silent for longer is removed
	replicasMax   = 200
)

func newReplicas(s store.Swapper) *replicas {
	return &replicas{id: rand.Text(), started: time.Now(), store: s}
}

// key is the key of the record: deployments with different secrets have different ones.
func (r *replicas) key(k *keyring.Keyring) (string, error) {
	secrets, err := k.Derive("replicas")
	if err != nil || len(secrets) == 0 {
		return "", errors.Join(err, errors.New("replicas: there is no secret"))
	}
	sum := sha256.Sum256(secrets[0])
	return "replicas:" + base64.RawURLEncoding.EncodeToString(sum[:12]), nil
}

func (r *replicas) read(ctx context.Context, k *keyring.Keyring) (key string, raw []byte, list []replicaReport, err error) {
	if key, err = r.key(k); err != nil {
		return "", nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	raw, err = r.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return key, nil, nil, nil
	}
	if err != nil {
		return "", nil, nil, err
	}
	if plain, _, err := k.OpenRecord(key, raw); err == nil {
		_ = json.Unmarshal(plain, &list)
	}
	return key, raw, list, nil
}

// report adds or updates this process; with gone it removes it.
func (r *replicas) report(ctx context.Context, k *keyring.Keyring, gone bool) error {
	host, _ := os.Hostname()
	for range 8 {
		key, raw, list, err := r.read(ctx, k)
		if err != nil {
			return err
		}
		now := time.Now().UTC()
		list = slices.DeleteFunc(list, func(one replicaReport) bool { return one.ID == r.id || now.Sub(one.Seen) > replicaFor })
		if !gone {
			list = append(list, replicaReport{r.id, cutName(host), buildinfo.Version(), r.started.UTC(), now})
		}
		list = list[max(0, len(list)-replicasMax):]
		plain, err := json.Marshal(list)
		if err != nil {
			return err
		}
		box, err := k.SealRecord(key, plain)
		if err != nil {
			return err
		}
		if raw == nil {
			err = r.store.Add(ctx, key, box, replicaFor)
		} else {
			err = r.store.Swap(ctx, key, raw, box, replicaFor)
		}
		if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrNotFound) {
			continue
		}
		return err
	}
	return nil
}

// run reports until ctx ends. Failures are retried: the console shows since when a
// replica is silent.
func (r *replicas) run(ctx context.Context, k *keyring.Keyring) {
	tick := time.NewTicker(replicaEvery)
	defer tick.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, replicaEvery/2)
		_ = r.report(once, k, false)
		cancel()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leave removes the process from the list when it ends.
func (r *replicas) leave(k *keyring.Keyring) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = r.report(ctx, k, true)
}

// replicas lists the processes that have reported.
func (d consoleService) replicas(ctx context.Context, language string) (facts []page.ConsoleFact) {
	title, silent, unknown := "副本", "没有上报，最近一次 ", "暂时读不到副本列表"
	if language == "en" {
		title, silent, unknown = "Replica", "silent since ", "the list of replicas cannot be read now"
	}
	_, _, list, err := d.state.replicas.read(ctx, d.c.keyring)
	if err != nil {
		return []page.ConsoleFact{{Name: title, Value: unknown, Bad: true}}
	}
	slices.SortFunc(list, func(a, b replicaReport) int { return strings.Compare(a.Host+a.ID, b.Host+b.ID) })
	for _, one := range list {
		bad := time.Since(one.Seen) > replicaSilent
		text := one.Version + " · " + one.Started.Local().Format(time.DateTime)
		if bad {
			text = silent + one.Seen.Local().Format(time.DateTime)
		}
		facts = append(facts, page.ConsoleFact{Name: title + " " + one.Host, Value: text, Bad: bad})
	}
	return facts
}
