package mirror

import (
	"slices"
	"strings"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/realtool"
	"dinggate/store/redisstore"
)

// TestMirrorOnRedis: 20,000 people pass from one replica to another through a real Redis, whose
// dump contains no names; if a part is lost, the copy is not used.
func TestMirrorOnRedis(t *testing.T) {
	redis := realtool.StartRedis(t)
	var all []*Mirror
	d := &directory{people: append(people(20_000), zhangsan)}
	for range 3 {
		c := redisstore.Defaults()
		c.Timeout = 10 * time.Second
		c.URL = conf.NewSecret(redis.URL())
		s, err := redisstore.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		all = append(all, d.mirror(t, s))
	}
	if !all[0].renew(t.Context()) || !all[1].renew(t.Context()) {
		t.Fatal("a replica has no copy")
	}
	if n := d.reads.Load(); n != 1 {
		t.Errorf("%d readings, want 1", n)
	}
	if s := all[1].Stats(); s.People != 20_001 || all[1].Confirms(&zhangsan).IsZero() {
		t.Errorf("the other replica: %+v", s)
	}
	keys := slices.DeleteFunc(strings.Fields(redis.Do("KEYS", "*directory:*")), func(s string) bool {
		return !strings.Contains(s, "directory:")
	})
	if len(keys) < 6 {
		t.Fatalf("%d records, want a head and five parts: %v", len(keys), keys)
	}
	longest, length := "", 0
	for _, key := range keys {
		text := redis.Do("GET", key)
		if strings.Contains(text, "zhangsan") || strings.Contains(text, "union") {
			t.Errorf("%s names people", key)
		}
		if len(text) > length {
			longest, length = key, len(text)
		}
	}
	if length < partPeople*entryLength {
		t.Errorf("the longest record has %d bytes, want a full part", length)
	}
	redis.Do("DEL", longest)
	if all[2].fetch(t.Context()) {
		t.Error("a copy without one of its parts counts")
	}
}
