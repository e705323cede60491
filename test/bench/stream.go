package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

const (
	eventCount = 200
	echoCount  = 5000
)

// events sends the time of day, again and again, as server-sent events.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	for range eventCount {
		fmt.Fprintf(w, "data: %d\n\n", time.Now().UnixNano())
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// echo sends back what a WebSocket brings.
func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, text, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, text) != nil {
			return
		}
	}
}

// streams measures the delay of an event and the round trip of a WebSocket.
func (h *env) streams(rounds int) error {
	var late, slow []float64
	for range rounds {
		bare, err := h.eventDelay(h.proxy)
		if err != nil {
			return err
		}
		ours, err := h.eventDelay(h.dinggate)
		if err != nil {
			return err
		}
		late = append(late, float64(ours-bare)/float64(time.Millisecond))
		if bare, err = h.echoTime(h.proxy); err != nil {
			return err
		}
		if ours, err = h.echoTime(h.dinggate); err != nil {
			return err
		}
		slow = append(slow, float64(ours)/float64(bare))
	}
	slices.Sort(late)
	slices.Sort(slow)
	h.note("a server-sent event, later than through a bare proxy", "SSE 事件比经裸代理晚", "≤ 1 ms", "%.3f ms (%.3f … %.3f)",
		late[len(late)/2], late[0], late[len(late)-1])
	h.note("WebSocket echo, time beside a bare proxy", "WebSocket 回声，与裸代理相比的时间", "≤ 1.10", "%.2f (%.2f … %.2f)",
		slow[len(slow)/2], slow[0], slow[len(slow)-1])
	return nil
}

func (h *env) header() http.Header {
	name, cookie, _ := strings.Cut(h.cookie, ": ")
	return http.Header{name: {cookie}}
}

// eventDelay is the median time from an event's writing to its reading.
func (h *env) eventDelay(p *process) (time.Duration, error) {
	r, err := http.NewRequest(http.MethodGet, p.base+"/events", nil)
	if err != nil {
		return 0, err
	}
	r.Header = h.header()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var all []time.Duration
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			sent, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return 0, err
			}
			all = append(all, time.Duration(time.Now().UnixNano()-sent))
		}
	}
	if len(all) != eventCount {
		return 0, fmt.Errorf("%s brought %d events of %d, status %d", p.base, len(all), eventCount, res.StatusCode)
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// echoTime is how long echoCount messages take, one after the other.
func (h *env) echoTime(p *process) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(p.base, "http")+"/echo",
		&websocket.DialOptions{HTTPHeader: h.header()})
	if err != nil {
		return 0, err
	}
	defer c.CloseNow()
	message := []byte(strings.Repeat("x", 64))
	began := time.Now()
	for range echoCount {
		if err := c.Write(ctx, websocket.MessageText, message); err != nil {
			return 0, err
		}
		if _, _, err := c.Read(ctx); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}
